//! `devnet …`: a whole network on this machine. What it does is in the devnet module; here are its flags and answers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::answer::{Answer, Failure, Words};
use super::genesis::hash_text;
use super::parameters;
use super::session::Session;
use crate::devnet::{self, Devnet, DevnetFault, Plan, SeatStatus};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make and start a network, or resume a stopped one 建立并启动,或恢复
    Up {
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// How many agencies run a node, 4 unless stated 节点数,默认为 4
        #[arg(long)]
        agencies: Option<usize>,
        /// First port; without it another range is taken when the usual one is busy 起始端口
        #[arg(long)]
        base_port: Option<u16>,
        /// Start only the node of this agency again 只启动该单位的节点
        #[arg(long, value_name = "AGENCY")]
        only: Option<String>,
        #[arg(long = "set", value_name = "NAME=VALUE", help = parameters::help())]
        parameters: Vec<String>,
    },
    /// Make a node for a registered agency that has none; start it with up --only 增加节点
    Add {
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        agency: String,
    },
    /// Stop what up started 停止
    Down {
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// Also delete what up made 同时删除
        #[arg(long)]
        delete: bool,
    },
    /// How each node is doing 状态
    Status {
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
    /// The ends of the nodes' logs 日志
    Logs {
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        #[arg(long)]
        agency: Option<String>,
        /// Lines of each log 行数
        #[arg(long, default_value_t = 50)]
        lines: usize,
    },
}

impl Command {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Up { .. } => "devnet up",
            Self::Add { .. } => "devnet add",
            Self::Down { .. } => "devnet down",
            Self::Status { .. } => "devnet status",
            Self::Logs { .. } => "devnet logs",
        }
    }
}

impl From<DevnetFault> for Failure {
    fn from(fault: DevnetFault) -> Self {
        Self { code: fault.code(), detail: fault.to_string() }
    }
}

pub fn run(session: &Session, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::Up { dir, agencies, base_port, only, parameters } => {
            let (consensus, rules) = parameters::parse(&parameters)?;
            up(session, &dir, &Plan { agencies, base_port, only: only.as_deref(), consensus, rules })
        }
        Command::Add { dir, agency } => add(&dir, &agency),
        Command::Down { dir, delete } => down(&dir, delete),
        Command::Status { dir } => status(&dir),
        Command::Logs { dir, agency, lines } => logs(&dir, agency.as_deref(), lines),
    }
}

fn up(session: &Session, dir: &Path, plan: &Plan<'_>) -> Result<Answer, Failure> {
    session.say(&Words::new("正在启动测试网 …", "starting the devnet …"));
    let (devnet, ready_ms) = devnet::up(dir, plan)?;
    let statuses = devnet.status();
    let agencies: Vec<_> = devnet
        .record
        .seats
        .iter()
        .zip(&statuses)
        .map(|(seat, status)| {
            json!({
                "agency_id": seat.agency_id, "name": seat.name, "api": format!("http://{}", seat.api),
                "ops": format!("http://{}", seat.ops),
                "peer": format!("/ip4/{}/tcp/{}", seat.peer.ip(), seat.peer.port()),
                "pid": status.pid, "state": status.state,
            })
        })
        .collect();
    let data = json!({
        "network": devnet.genesis.origin,
        "genesis_hash": hash_text(&devnet.genesis),
        "genesis_file": devnet.genesis_file(),
        "context_file": devnet.context_file(),
        "dir": devnet.dir,
        "ready_ms": ready_ms,
        "agencies": agencies,
        "keys": devnet.record.keys,
    });
    let mut table = String::new();
    for (seat, status) in devnet.record.seats.iter().zip(&statuses) {
        writeln!(table, "{:<12} http://{}  {}  {}", seat.agency_id, seat.api, status.state, seat.name)
            .expect("writing to a string cannot fail");
    }
    let rules: Vec<String> =
        devnet.genesis.document.rules.0.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let rules = rules.join("\n  ");
    let context = devnet.context_file();
    let ended = how_it_ended(&statuses, plan.only, ready_ms);
    let text = Words::new(
        format!("{table}{}export MINGZHANG_CONTEXT={}", ended.zh, context.display()),
        format!("{table}{}export MINGZHANG_CONTEXT={}", ended.en, context.display()),
    );
    let warnings = vec![
        Words::new("测试网: 密钥未加密,不得用于实际业务", "test network: keys lie in clear, not for use"),
        Words::new(format!("创世文件缩短了期限:\n  {rules}"), format!("its genesis shortens periods:\n  {rules}")),
    ];
    Ok(Answer { data, text, warnings, failure: None })
}

/// Which nodes `up` has made ready, and which run only: those that were added and have no seat yet.
fn how_it_ended(statuses: &[SeatStatus], only: Option<&str>, ready_ms: u64) -> Words {
    let asked = || statuses.iter().filter(|status| only.is_none_or(|only| only == status.agency_id));
    let names = |ready: bool| {
        let chosen =
            asked().filter(|status| (status.state == "ready") == ready).map(|status| status.agency_id.as_str());
        chosen.collect::<Vec<_>>().join(", ")
    };
    let (ready, seatless) = (names(true), names(false));
    let mut words = match (ready.as_str(), seatless.as_str()) {
        ("", _) => Words::default(),
        (_, "") if only.is_none() => {
            Words::new(format!("{ready_ms} 毫秒后全部就绪\n"), format!("ready after {ready_ms} ms\n"))
        }
        (ready, _) => {
            Words::new(format!("{ready_ms} 毫秒后就绪: {ready}\n"), format!("ready after {ready_ms} ms: {ready}\n"))
        }
    };
    if !seatless.is_empty() {
        words.zh += &format!("已启动,席位商定之后各成员才允许其跟随: {seatless}\n");
        words.en += &format!("running, and let in by the members once its seat is agreed: {seatless}\n");
    }
    words
}

fn add(dir: &Path, agency: &str) -> Result<Answer, Failure> {
    let devnet = devnet::add(dir, agency)?;
    let seat = devnet.record.seats.last().ok_or_else(|| Failure::new(5024, "the new seat is missing"))?;
    let data = json!({
        "agency_id": agency, "api": format!("http://{}", seat.api), "config": devnet.config_file(seat),
        "peer": format!("/ip4/{}/tcp/{}", seat.peer.ip(), seat.peer.port()),
    });
    let command = format!("mingzhang-node devnet up --dir {} --only {agency}", dir.display());
    let text = Words::new(
        format!("{agency} 的节点已建立;启动:\n  {command}"),
        format!("a node of {agency} was made; start it:\n  {command}"),
    );
    Ok(Answer { data, text, ..Answer::default() })
}

fn down(dir: &Path, delete: bool) -> Result<Answer, Failure> {
    let stopped = devnet::down(dir, delete)?;
    let (zh, en) = if delete { (",已删除", ", deleted") } else { ("", "") };
    let text = Words::new(format!("已停止 {stopped} 个节点{zh}"), format!("stopped {stopped} nodes{en}"));
    Ok(Answer { data: json!({ "stopped": stopped, "deleted": delete }), text, ..Answer::default() })
}

fn status(dir: &Path) -> Result<Answer, Failure> {
    let statuses = Devnet::open(dir)?.status();
    let height = statuses.iter().filter_map(|status| status.height).max();
    let behind = |status: &SeatStatus| Some(height? - status.height?);
    let agencies: Vec<_> = statuses
        .iter()
        .map(|status| {
            json!({
                "agency_id": status.agency_id, "pid": status.pid, "state": status.state, "height": status.height,
                "behind": behind(status),
            })
        })
        .collect();
    let running = statuses.iter().filter(|status| status.pid.is_some()).count();
    let mut table = Words::default();
    for status in &statuses {
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        let (height, behind) = (number(status.height), number(behind(status)));
        let beside = format!("{:<12} {:<9}", status.agency_id, status.state);
        table.zh += &format!("{beside} 高度 {height} 落后 {behind}\n");
        table.en += &format!("{beside} height {height} behind {behind}\n");
    }
    let waiting: Vec<&str> =
        statuses.iter().filter(|status| status.state != "ready").map(|status| status.agency_id.as_str()).collect();
    let failure = (!waiting.is_empty()).then(|| Failure::new(5027, format!("not ready: {}", waiting.join(", "))));
    let data = json!({ "running": running, "total": statuses.len(), "height": height, "agencies": agencies });
    Ok(Answer { data, text: table, failure, ..Answer::default() })
}

fn logs(dir: &Path, agency: Option<&str>, lines: usize) -> Result<Answer, Failure> {
    let devnet = Devnet::open(dir)?;
    let (mut items, mut text) = (Vec::new(), String::new());
    for seat in devnet.record.seats.iter().filter(|seat| agency.is_none_or(|agency| agency == seat.agency_id)) {
        let file = devnet.log_file(seat);
        let log = std::fs::read(&file).map_err(|error| Failure::unreadable(&file, error))?;
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        let last = &all[all.len().saturating_sub(lines)..];
        writeln!(text, "== {} {}", seat.agency_id, file.display()).expect("writing to a string cannot fail");
        for line in last {
            writeln!(text, "{line}").expect("writing to a string cannot fail");
        }
        items.push(json!({ "agency_id": seat.agency_id, "file": file, "lines": last }));
    }
    if items.is_empty() {
        return Err(DevnetFault::NoSeat(agency.unwrap_or_default().to_owned()).into());
    }
    Ok(Answer { data: json!({ "logs": items }), text: Words::same(text), ..Answer::default() })
}
