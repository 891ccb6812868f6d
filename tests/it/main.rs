mod analysis;

fn main() {}
