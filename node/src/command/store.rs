//! `store check`: computes again everything that the last final block commits to, from the data of a stopped node.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::answer::{Answer, Failure, Words};
use crate::config::Config;
use crate::{node, setup};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recompute log, state and trails; changes nothing 重新核算全部数据
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub fn check(config: &Path) -> Result<Answer, Failure> {
    let config = Config::read(config)?;
    let genesis = setup::read_genesis(&config.genesis_file)?;
    if !config.data_directory.is_dir() {
        return Err(Failure::new(5001, format!("{} holds no data", config.data_directory.display())));
    }
    let store = node::open_store(&config.data_directory, &genesis)?;
    let checked = store.check()?;
    store.close()?;
    let data = json!({
        "height": checked.height, "entries": checked.entries, "leaves": checked.leaves,
        "trails": checked.trails, "trail_entries": checked.trail_entries,
        "citations": checked.citations,
    });
    let text = Words::new(
        format!(
            "数据完好: 高度 {},日志 {} 条,状态 {} 项,轨迹 {} 条",
            checked.height, checked.entries, checked.leaves, checked.trails
        ),
        format!(
            "the data is whole: height {}, {} log entries, {} state leaves, {} trails",
            checked.height, checked.entries, checked.leaves, checked.trails
        ),
    );
    Ok(Answer { data, text, ..Answer::default() })
}
