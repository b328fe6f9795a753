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
    let (state, height, epoch, peers) = (field("state"), field("height"), field("epoch"), field("peers_connected"));
    let agency = match field("agency_id") {
        agency if agency.is_empty() => Words::new("观察节点", "observer"),
        agency => Words::same(agency),
    };
    let members = data.get("members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let votes = data.get("seat").is_some_and(Value::is_u64);
    let (quorum, tolerates) = (field("quorum"), field("tolerates"));
    let now = now(members, votes, [&field("missing_for_quorum"), &field("survives_more_failures")]);
    let mut text = Words::new(
        format!(
            "{} 状态 {state} 高度 {height} 届 {epoch} 已连接 {peers} 个节点\n法定数 {quorum} 容忍 {tolerates} 个故障 {}",
            agency.zh, now.zh
        ),
        format!(
            "{} state {state} height {height} epoch {epoch} connected to {peers} nodes\nquorum {quorum} tolerates \
             {tolerates} faulty {}",
            agency.en, now.en
        ),
    );
    for member in members {
        let line = told(member, votes);
        text.zh += &line.zh;
        text.en += &line.en;
    }
    for passage in data.get("discontinuities").and_then(Value::as_array).into_iter().flatten() {
        let number = |name: &str| passage.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (epoch, height) = (number("epoch"), number("after_height"));
        let reason = passage.get("reason").and_then(Value::as_str).unwrap_or_default();
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
        "isolated" if votes => 5021,
        _ => 1014,
    };
    let failure = (state != "ready").then(|| Failure::new(code, format!("{} is {state}", agency.en)));
    Ok(Answer { data, text, failure, ..Answer::default() })
}

fn is_online(member: &Value) -> bool {
    member.get("connected").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether blocks are made, as a member sees it. Whom a node without a seat reaches says nothing of whom the members
/// reach.
fn now(members: &[Value], votes: bool, [missing, survives]: [&str; 2]) -> Words {
    if !votes {
        let (connected, count) = (members.iter().filter(|member| is_online(member)).count(), members.len());
        return Words::new(
            format!("无席位,只跟随: 已连接 {count} 个成员中的 {connected} 个"),
            format!("follows without a seat, connected to {connected} of {count} members"),
        );
    }
    match missing {
        "0" | "" => Words::new(format!("目前还能承受 {survives} 个"), format!("survives {survives} more failures now")),
        missing => {
            Words::new(format!("停止出块: 还缺 {missing} 个成员"), format!("halted: {missing} more members needed"))
        }
    }
}

/// A line about a member.
fn told(member: &Value, votes: bool) -> Words {
    let name = member.get("agency_id").and_then(Value::as_str).unwrap_or_default();
    let missed = member.get("missed_turns").and_then(Value::as_u64).unwrap_or(0);
    let (zh, en) = match (votes, is_online(member)) {
        (true, true) => ("在线", "online "),
        (true, false) => ("离线", "offline"),
        (false, true) => ("已连接", "connected    "),
        (false, false) => ("未连接", "not connected"),
    };
    Words::new(format!("\n{name:<12} {zh} 错过轮次 {missed}"), format!("\n{name:<12} {en} missed turns {missed}"))
}
