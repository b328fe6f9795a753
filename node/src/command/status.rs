//! `status`: what the running node says about itself. It asks the node's public interface; it reads no files of the node
//! but its configuration.

use std::path::PathBuf;

use serde_json::Value;

use super::answer::{Answer, Failure, Words};
use super::probe;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration of the node 节点配置
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Answer, Failure> {
    let config = Config::read(&arguments.config)?;
    let address = config.api_listen;
    let data = probe::get_json(address, "/api/v1/status")
        .map_err(|fault| Failure::new(2007, format!("http://{address}: {fault}")))?;
    let field = |name: &str| match data.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let state = field("state");
    let values = [field("agency_id"), state.clone(), field("height"), field("epoch"), field("peers_connected")];
    let [agency, _, height, epoch, peers] = &values;
    let text = Words::new(
        format!("{agency} 状态 {state} 高度 {height} 届 {epoch} 已连接 {peers} 个节点"),
        format!("{agency} state {state} height {height} epoch {epoch} connected to {peers} nodes"),
    );
    let failure = (state != "ready").then(|| Failure::new(1014, format!("{agency} is {state}")));
    Ok(Answer { data, text, failure, ..Answer::default() })
}
