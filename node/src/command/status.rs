//! `status`: what the running node says about itself. It asks the node's public interface; it reads no files of the node
//! but its configuration.

use std::path::PathBuf;

use mingzhang_ledger::phrases::chinese;
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
    let (quorum, tolerates, survives) = (field("quorum"), field("tolerates"), field("survives_more_failures"));
    let now = match field("missing_for_quorum").as_str() {
        "0" | "" => (format!("目前还能承受 {survives} 个"), format!("survives {survives} more failures now")),
        missing => (format!("停止出块: 还缺 {missing} 个成员"), format!("halted: {missing} more members needed")),
    };
    let mut text = Words::new(
        format!(
            "{agency} 状态 {state} 高度 {height} 届 {epoch} 已连接 {peers} 个节点\n法定数 {quorum} 容忍 {tolerates} 个故障 {}",
            now.0
        ),
        format!(
            "{agency} state {state} height {height} epoch {epoch} connected to {peers} nodes\nquorum {quorum} tolerates \
             {tolerates} faulty {}",
            now.1
        ),
    );
    for member in data.get("members").and_then(Value::as_array).into_iter().flatten() {
        let name = member.get("agency_id").and_then(Value::as_str).unwrap_or_default();
        let missed = member.get("missed_turns").and_then(Value::as_u64).unwrap_or(0);
        let online = member.get("connected").and_then(Value::as_bool).unwrap_or(false);
        text.zh += &format!("\n{name:<12} {} 错过轮次 {missed}", if online { "在线" } else { "离线" });
        text.en += &format!("\n{name:<12} {} missed turns {missed}", if online { "online " } else { "offline" });
    }
    for told in data.get("discontinuities").and_then(Value::as_array).into_iter().flatten() {
        let number = |name: &str| told.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (epoch, height) = (number("epoch"), number("after_height"));
        let reason = told.get("reason").and_then(Value::as_str).unwrap_or_default();
        text.zh += &format!("\n! 历史断点: 第 {epoch} 届自高度 {height} 之后起由恢复文书开启: {reason}");
        text.en += &format!(
            "\n! discontinuity: epoch {epoch} was opened after height {height} by a recovery manifest: {reason}"
        );
    }
    for alarm in data.get("alarms").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        text.zh += &format!("\n! {}", chinese(alarm));
        text.en += &format!("\n! {alarm}");
    }
    // What helps stands with the code: waiting does not help a key in doubt.
    let in_doubt = data.get("alarms").and_then(Value::as_array).into_iter().flatten();
    let in_doubt = in_doubt.filter_map(Value::as_str).any(|alarm| alarm.starts_with("MZ-5028"));
    let code = match state.as_str() {
        "halted" if in_doubt => 5028,
        "isolated" => 5021,
        _ => 1014,
    };
    let failure = (state != "ready").then(|| Failure::new(code, format!("{agency} is {state}")));
    Ok(Answer { data, text, failure, ..Answer::default() })
}
