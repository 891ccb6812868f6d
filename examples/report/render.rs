//! The report as text.

use std::fmt::Write;

use crate::sales::Sales;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Markdown,
    Csv,
}

impl Format {
    pub fn render(self, sales: &Sales) -> String {
        match self {
            Format::Markdown => markdown(sales),
            Format::Csv => csv(sales),
        }
    }
}

fn markdown(sales: &Sales) -> String {
    let mut text = format!("# Sales in {}\n", sales.month);
    let mut table = |title: &str, head: &[&str], rows: Vec<Vec<String>>| {
        let _ = write!(text, "\n## {title}\n\n| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        for row in rows {
            let row: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
    };
    let rows = sales.countries.iter().map(|country| {
        let change = match country.before {
            0 => "new".to_owned(),
            before => format!("{:+.1} %", (country.revenue - before) as f64 * 100.0 / before as f64),
        };
        vec![country.name.clone(), country.orders.to_string(), euros(country.revenue), euros(country.vat), change]
    });
    table("Countries", &["country", "orders", "revenue", "of it VAT", "month before"], rows.collect());
    let rows = sales
        .categories
        .iter()
        .map(|category| vec![category.name.clone(), category.units.to_string(), euros(category.revenue)]);
    table("Categories", &["category", "units", "revenue"], rows.collect());
    let rows = sales.customers.iter().map(|customer| {
        let (name, country) = (customer.name.clone(), customer.country.clone());
        vec![name, country, euros(customer.revenue), customer.orders.to_string(), customer.since.clone()]
    });
    table("Best customers", &["customer", "country", "revenue", "orders ever", "since"], rows.collect());
    let rows = sales.days.iter().map(|day| vec![day.day.clone(), day.orders.to_string(), euros(day.revenue)]);
    table("Days", &["day", "orders", "revenue"], rows.collect());
    text
}

/// One table for machines: all money in cents.
fn csv(sales: &Sales) -> String {
    let mut text = String::from("section,name,count,revenue_cents\n");
    let mut line = |section: &str, name: &str, count: i64, revenue: i64| {
        let name = match name.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", name.replace('"', "\"\"")),
            false => name.to_owned(),
        };
        let _ = writeln!(text, "{section},{name},{count},{revenue}");
    };
    for country in &sales.countries {
        line("country", &country.name, country.orders, country.revenue);
    }
    for category in &sales.categories {
        line("category", &category.name, category.units, category.revenue);
    }
    for customer in &sales.customers {
        line("customer", &customer.name, customer.orders, customer.revenue);
    }
    for day in &sales.days {
        line("day", &day.day, day.orders, day.revenue);
    }
    text
}

fn euros(cents: i64) -> String {
    format!("{}{}.{:02} €", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}
