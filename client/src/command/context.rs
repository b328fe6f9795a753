//! `mingzhang context`: networks by name, each with its pinned genesis hash.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::Desk;
use crate::context::{self, ContextFile};
use crate::output::{Answer, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Pin a network: name, genesis file (given with --genesis) and nodes (given with --node), or --from a context file
    Add {
        name: String,
        /// Take everything from another context file, such as a devnet's
        #[arg(long)]
        from: Option<PathBuf>,
        /// The hash that you were told; the genesis file must have it
        #[arg(long)]
        genesis_hash: Option<String>,
    },
    /// Make a context the default
    Use { name: String },
    /// All contexts
    List,
    /// The context in force, and where each value came from
    Show,
    /// Ask every node of the context who it is
    Check,
    /// Forget a context
    Remove { name: String },
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Add { name, from, genesis_hash } => ("context add".into(), add(desk, name, from, genesis_hash)),
        Action::Use { name } => ("context use".into(), select(desk, &name)),
        Action::List => ("context list".into(), list()),
        Action::Show => ("context show".into(), show(desk)),
        Action::Check => ("context check".into(), check(desk)),
        Action::Remove { name } => {
            let result = context::remove(&name).map(|()| Answer::done(json!({ "removed": name }), name));
            ("context remove".into(), result)
        }
    }
}

fn add(desk: &Desk, name: String, from: Option<PathBuf>, genesis_hash: Option<String>) -> Result<Answer, Failure> {
    let mut file = match from {
        Some(path) => context::load(&path.display().to_string())?,
        None => {
            let genesis_file =
                desk.genesis_file().ok_or_else(|| Failure::usage("give --genesis FILE or --from FILE"))?;
            ContextFile {
                name: name.clone(),
                genesis_hash: hex::encode(context::read_genesis(genesis_file)?.hash),
                genesis_file: std::path::absolute(genesis_file)?,
                nodes: desk.overrides.nodes.clone(),
                agency: desk.overrides.agency.clone(),
                keys_dir: None,
                key: None,
                importer_key: None,
                supervisor_key: None,
                lang: None,
            }
        }
    };
    if let Some(told) = genesis_hash {
        file.genesis_hash = told.trim_start_matches("sha256:").to_lowercase();
    }
    let found = hex::encode(context::read_genesis(&file.genesis_file)?.hash);
    if found != file.genesis_hash {
        return Err(Failure::coded(
            mingzhang_ledger::outcome::Code(4001),
            format!("{} hashes to {found}, wanted {}", file.genesis_file.display(), file.genesis_hash),
        )
        .with_exit(crate::output::exit::USAGE));
    }
    file.name.clone_from(&name);
    let path = context::save(&file)?;
    context::set_current(&name)?;
    let data = json!({ "name": name, "file": path, "genesis_hash": file.genesis_hash, "nodes": file.nodes });
    Ok(Answer::done(data, format!("{name}  sha256:{}", file.genesis_hash)))
}

fn select(desk: &Desk, name: &str) -> Result<Answer, Failure> {
    context::load(name)?;
    context::set_current(name)?;
    Ok(Answer::done(json!({ "name": name }), format!("{} {name}", desk.pick("当前网络:", "context:"))))
}

fn list() -> Result<Answer, Failure> {
    let current = context::current()?;
    let contexts = context::list()?;
    let items: Vec<_> = contexts
        .values()
        .map(|file| {
            json!({ "name": file.name, "genesis_hash": file.genesis_hash, "nodes": file.nodes,
                    "current": current.as_deref() == Some(file.name.as_str()) })
        })
        .collect();
    let lines: Vec<_> = contexts
        .values()
        .map(|file| {
            let mark = if current.as_deref() == Some(file.name.as_str()) { "*" } else { " " };
            format!("{mark} {:<16} {}", file.name, file.genesis_hash)
        })
        .collect();
    Ok(Answer::done(json!({ "items": items }), lines.join("\n")))
}

fn show(desk: &Desk) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let file = &network.context;
    let data = json!({
        "name": file.name, "origin": network.genesis.origin, "genesis_hash": file.genesis_hash,
        "genesis_file": file.genesis_file, "nodes": file.nodes, "agency": file.agency, "key": file.key,
        "keys_dir": file.keys_dir, "sources": network.sources,
    });
    let text = format!(
        "{}\n  origin   {}\n  genesis  {}\n  nodes    {} ({})\n  agency   {} ({})",
        file.name,
        network.genesis.origin,
        file.genesis_hash,
        file.nodes.join("\n           "),
        network.sources.get("nodes").unwrap_or(&"context"),
        file.agency.as_deref().unwrap_or("-"),
        network.sources.get("agency").unwrap_or(&"context"),
    );
    Ok(Answer::done(data, text))
}

fn check(desk: &Desk) -> Result<Answer, Failure> {
    let api = desk.api()?;
    let mut items = Vec::new();
    let mut lines = Vec::new();
    let mut worst = None;
    for node in api.nodes() {
        match api.only(node).get_json("/status") {
            Ok(status) => {
                let height = status.get("height").cloned().unwrap_or_default();
                lines.push(format!("✓ {node}  {} {height}", desk.pick("高度", "height")));
                items.push(json!({ "node": node, "ok": true, "status": status }));
            }
            Err(failure) => {
                lines.push(format!("✗ {node}  {}", failure.detail));
                items.push(json!({ "node": node, "ok": false, "detail": failure.detail }));
                worst = Some(failure.exit);
            }
        }
    }
    let answer = Answer::done(json!({ "items": items }), lines.join("\n"));
    Ok(match worst {
        Some(exit) => answer.with_exit(exit),
        None => answer,
    })
}
