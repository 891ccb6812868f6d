//! The socket that replay connections run over is gone once they are open.

use super::*;
use crate::replay::link::Link;

#[tokio::test]
async fn an_open_link_leaves_no_folder() {
    let link = Link::<Prepared>::open().await.unwrap();
    // Other tests open links at the same time: look at this one's own address.
    let address = link.address();
    assert!(address.ends_with(".s.PGSQL.5432"), "{address:?}");
    assert!(!address.exists() && !address.parent().unwrap().exists());
}
