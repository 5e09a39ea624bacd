use crate::Failed;

#[derive(clap::Args)]
pub struct Args {}

pub async fn measure(_: &Args) -> Result<serde_json::Value, Failed> {
    Err("to come".into())
}
