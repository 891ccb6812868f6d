#[tokio::test]
async fn it_starts() {
    <super::MySqlReplay as crate::replay::Replay<sqlx::MySql>>::start().await.unwrap();
}
