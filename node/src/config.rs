//! The node's local configuration file: only what cannot change a verdict. What the agencies agree on is on the ledger
//! and in no local file. Every key has a default, and its unit in its name; an unknown key is an error that names it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::validate::{self, MAX_AGENCY_BYTES};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the configuration file says. Paths are absolute once [`Config::read`] has made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub agency: String,
    pub observer: bool,
    pub joined_later: bool,
    pub data_directory: PathBuf,
    pub keys_directory: PathBuf,
    pub genesis_file: PathBuf,
    pub genesis_proofs_file: PathBuf,
    pub seeds_file: PathBuf,
    pub api_listen: SocketAddr,
    pub ops_listen: SocketAddr,
    pub peer_listen: SocketAddr,
    pub batch_linger_ms: u64,
    pub relay_delay_ms: u64,
    pub retransmission_ms: u64,
    pub mempool_bytes: u64,
    pub lane_quota_bytes: u64,
    pub api_reads_per_s: u64,
    pub api_connections_per_address: u64,
    pub snapshot_from_blocks: u64,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// One key of the file, for `config explain`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub zh: &'static str,
    pub en: &'static str,
    /// Least and most, where the value is a number.
    pub range: Option<(u64, u64)>,
}

const fn setting(name: &'static str, zh: &'static str, en: &'static str) -> Setting {
    Setting { name, zh, en, range: None }
}

const fn number(name: &'static str, range: (u64, u64), zh: &'static str, en: &'static str) -> Setting {
    Setting { name, zh, en, range: Some(range) }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// All keys, in the order of the file.
pub const SETTINGS: [Setting; 21] = [
    setting(
        "agency",
        "本节点所属单位的代码;观察节点留空",
        "Id of the agency that runs this node; empty for an observer",
    ),
    setting("observer", "只跟随和核验,不签署任何内容", "Only follows and verifies, signs nothing"),
    setting(
        "joined_later",
        "创立之后加入或更换过密钥:密钥与地址不与创世文件比对",
        "Joined, or changed keys, after the founding: keys and seeds are not compared with the genesis file",
    ),
    setting("data_directory", "数据库所在目录", "Where the store lies"),
    setting("keys_directory", "密钥文件所在目录", "Where the key files lie"),
    setting("genesis_file", "创世文件", "The genesis file"),
    setting("genesis_proofs_file", "创始单位持有密钥的证明", "The founders' proofs of possession"),
    setting("seeds_file", "各节点的地址", "Where the other agencies' nodes are found"),
    setting("api_listen", "公开接口的监听地址", "Address of the public interface"),
    setting("ops_listen", "运维接口的监听地址,只应为本机地址", "Address for metrics and health, loopback only"),
    setting("peer_listen", "节点之间通信的监听地址", "Address for the other agencies' nodes"),
    number("batch_linger_ms", (0, 1_000), "攒批等待时间", "How long a batch waits for more transactions"),
    number("relay_delay_ms", (10, 10_000), "转发证书前的等待", "Wait before a certificate is passed on"),
    number("retransmission_ms", (100, 60_000), "重发间隔", "Interval of retransmission"),
    number("mempool_bytes", (MIB, 4_096 * MIB), "待处理交易占用内存的上限", "Most memory for waiting transactions"),
    number(
        "lane_quota_bytes",
        (256 * KIB, 1_024 * MIB),
        "一个单位未最终确认交易的上限",
        "Most bytes of one agency that are not final",
    ),
    number("api_reads_per_s", (1, 1_000_000), "每个地址每秒的查询上限", "Most reads of one address in a second"),
    number(
        "api_connections_per_address",
        (0, 1_000_000),
        "每个地址同时连接的上限;0 为全部连接的一半。前置代理时应调高",
        "Most connections of one address; 0 is half of all. More where a proxy stands in front",
    ),
    number(
        "snapshot_from_blocks",
        (0, 1_000_000_000),
        "新节点落后达到此区块数时直接取得状态快照;0 为总是重放日志",
        "A new node so many blocks behind takes a peer's state; 0 always replays the log",
    ),
    setting("log_level", "日志级别:error warn info debug trace", "Log level: error warn info debug trace"),
    setting("log_format", "日志格式:text 或 json", "Log format: text or json"),
];

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            agency: String::new(),
            observer: false,
            joined_later: false,
            data_directory: "data".into(),
            keys_directory: "keys".into(),
            genesis_file: "genesis.json".into(),
            genesis_proofs_file: "genesis-proofs.json".into(),
            seeds_file: "seeds.toml".into(),
            api_listen: loopback(8440),
            ops_listen: loopback(8441),
            peer_listen: loopback(8442),
            batch_linger_ms: 50,
            relay_delay_ms: 100,
            retransmission_ms: 1_000,
            mempool_bytes: 64 * MIB,
            lane_quota_bytes: 8 * MIB,
            api_reads_per_s: 50,
            api_connections_per_address: 0,
            snapshot_from_blocks: 10_000,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigFault {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: there is no key \"{key}\"{}", nearest.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default())]
    UnknownKey { path: PathBuf, key: String, nearest: Option<&'static str> },
    #[error("{path}: {reason}")]
    Toml { path: PathBuf, reason: String },
    #[error("{path}: {key} is {value}, allowed are {least} to {most}")]
    Range { path: PathBuf, key: &'static str, value: u64, least: u64, most: u64 },
    #[error("{path}: agency \"{agency}\" is not 1 to {MAX_AGENCY_BYTES} characters of a-z, 0-9, - and _")]
    Agency { path: PathBuf, agency: String },
    #[error("{path}: {reason}")]
    Contradiction { path: PathBuf, reason: &'static str },
}

impl ConfigFault {
    /// The catalogue's code of this fault.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code(2011),
            Self::UnknownKey { .. } => Code(5008),
            Self::Toml { .. } | Self::Range { .. } | Self::Agency { .. } | Self::Contradiction { .. } => Code(5009),
        }
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at its own folder.
    pub fn read(path: &Path) -> Result<Self, ConfigFault> {
        let unreadable = |error| ConfigFault::Unreadable { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut config = Self::parse(path, &text)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        for file in [
            &mut config.data_directory,
            &mut config.keys_directory,
            &mut config.genesis_file,
            &mut config.genesis_proofs_file,
            &mut config.seeds_file,
        ] {
            *file = folder.join(&*file);
        }
        Ok(config)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigFault> {
        let invalid = |error| ConfigFault::Toml { path: path.to_owned(), reason: one_sentence(text, &error) };
        let table: toml::Table = text.parse().map_err(invalid)?;
        if let Some(key) = table.keys().find(|key| SETTINGS.iter().all(|setting| setting.name != key.as_str())) {
            return Err(ConfigFault::UnknownKey { path: path.to_owned(), key: key.clone(), nearest: nearest(key) });
        }
        let config: Self = toml::from_str(text).map_err(invalid)?;
        config.check(path)?;
        Ok(config)
    }

    /// Whether the values are allowed and fit each other.
    pub fn check(&self, path: &Path) -> Result<(), ConfigFault> {
        let table = self.table();
        for setting in SETTINGS {
            let Some((least, most)) = setting.range else { continue };
            let value = table.get(setting.name).and_then(toml::Value::as_integer).unwrap_or_default();
            let value = u64::try_from(value).unwrap_or_default();
            if value < least || value > most {
                return Err(ConfigFault::Range { path: path.to_owned(), key: setting.name, value, least, most });
            }
        }
        let contradiction = |reason| Err(ConfigFault::Contradiction { path: path.to_owned(), reason });
        let (api, ops, peer) = (self.api_listen, self.ops_listen, self.peer_listen);
        if api == ops || api == peer || ops == peer {
            return contradiction("api_listen, ops_listen and peer_listen must be three different addresses");
        }
        if !ops.ip().is_loopback() {
            return contradiction("ops_listen must be a loopback address: it is not protected");
        }
        if self.lane_quota_bytes > self.mempool_bytes {
            return contradiction("lane_quota_bytes is greater than mempool_bytes");
        }
        match (self.observer, self.agency.is_empty()) {
            (true, false) => contradiction("an observer acts for no agency: remove agency or observer"),
            (false, true) => contradiction("agency is missing: whose node is this?"),
            (true, true) => Ok(()),
            // The ledger's rule: founders meet a narrower one when they contribute.
            (false, false) => validate::agency_id(&self.agency)
                .map_err(|_| ConfigFault::Agency { path: path.to_owned(), agency: self.agency.clone() }),
        }
    }

    /// All keys with their values, as written in a file.
    pub fn table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("a flat structure of strings and small numbers has a TOML form")
    }

    /// A file with these values, each with its explanation.
    pub fn to_text(&self) -> String {
        let table = self.table();
        let line = |setting: &Setting| {
            let value = table.get(setting.name).map(ToString::to_string).unwrap_or_default();
            format!("# {}\n# {}\n{} = {value}\n", setting.zh, setting.en, setting.name)
        };
        SETTINGS.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// What is wrong and in which line, without the library's drawing of it.
fn one_sentence(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    let before = error.span().and_then(|span| text.get(..span.start));
    let Some(before) = before else { return message };
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let Some((key, value)) = line.split_once('=') else { return format!("line {}: {message}", number + 1) };
    let (key, value) = (key.trim(), value.trim());
    let bare = value.starts_with(char::is_alphabetic) && !["true", "false"].contains(&value);
    let hint = if bare { "; a text stands in quotation marks" } else { "" };
    format!("line {}, {key}: {message}{hint}", number + 1)
}

/// The key that begins most like the unknown one.
fn nearest(key: &str) -> Option<&'static str> {
    let shared = |name: &str| name.chars().zip(key.chars()).take_while(|(a, b)| a == b).count();
    SETTINGS.iter().map(|setting| setting.name).max_by_key(|name| shared(name)).filter(|name| shared(name) >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, expected: &str) {
        let fault = Config::parse(Path::new("node.toml"), text).expect_err(expected).to_string();
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn settings_are_the_fields_in_order() {
        let table: Vec<String> = Config::default().table().keys().cloned().collect();
        let mut names: Vec<String> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
        let text = Config { agency: "finance".into(), ..Config::default() }.to_text();
        let read = Config::parse(Path::new("node.toml"), &text).expect("what is written can be read");
        assert_eq!(read, Config { agency: "finance".into(), ..Config::default() });
        names.sort();
        let mut sorted = table;
        sorted.sort();
        assert_eq!(names, sorted);
    }

    #[test]
    fn mistakes_are_named() {
        refused("agency = \"a\"\nbatch_linger = 50", "no key \"batch_linger\"; did you mean \"batch_linger_ms\"?");
        refused("colour = 1", "there is no key \"colour\"");
        refused("agency = \"a\"\nbatch_linger_ms = 1001", "batch_linger_ms is 1001, allowed are 0 to 1000");
        refused("agency = \"a\"\nbatch_linger_ms = \"50\"", "invalid type");
        refused("agency = \"a\"\nlog_level = \"loud\"", "loud");
        refused("agency = \"a\"\nops_listen = \"0.0.0.0:9\"", "loopback");
        refused("agency = \"a\"\nops_listen = \"127.0.0.1:8440\"", "three different addresses");
        refused("agency = \"a\"\nlane_quota_bytes = 1073741824", "lane_quota_bytes is greater");
        refused("agency = \"Civil Affairs\"", "agency \"Civil Affairs\" is not 1 to 32 characters");
        refused("", "agency is missing");
        refused("agency = \"a\"\nobserver = true", "an observer acts for no agency");
        refused("agency = \"a\"\nlog_level = ", "node.toml: line 2, log_level: ");
        refused("agency = civil", "node.toml: line 1, agency: ");
        refused("agency = finance", "; a text stands in quotation marks");
        let fault = Config::parse(Path::new("node.toml"), "agency = \"a\"\n\n[[").expect_err("no TOML").to_string();
        assert!(fault.starts_with("node.toml: line 3: ") && !fault.contains('\n'), "{fault}");
    }

    #[test]
    fn paths_start_at_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("node.toml");
        std::fs::write(&path, "agency = \"a\"\ngenesis_file = \"/etc/genesis.json\"").expect("written");
        let config = Config::read(&path).expect("valid");
        assert_eq!(config.data_directory, folder.path().join("data"));
        assert_eq!(config.genesis_file, Path::new("/etc/genesis.json"));
    }
}
