//! `mingzhang context`: networks by name, each with its pinned genesis hash.

use std::path::PathBuf;

use clap::Subcommand;
use mingzhang_ledger::outcome::Code;
use serde_json::json;

use super::Desk;
use crate::context::{self, ContextFile};
use crate::output::{Answer, Failure, Language};

/// A genesis file that is not the one that was meant.
const GENESIS_INVALID: Code = Code(5018);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Pin a network: name, genesis file (--genesis) and nodes (--node), or --from a context file; the first is the default
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
            GENESIS_INVALID,
            format!(
                "{} hashes to {found}, wanted {}; nothing was added",
                file.genesis_file.display(),
                file.genesis_hash
            ),
        ));
    }
    file.name.clone_from(&name);
    let is_current = pin(desk, &file)?;
    let path = context::save(&file)?;
    let data = json!({ "name": name, "file": path, "genesis_hash": file.genesis_hash, "nodes": file.nodes,
                       "current": is_current });
    Ok(Answer::done(data, format!("{name}  sha256:{}", file.genesis_hash)))
}

/// Makes the first context the default and leaves the default alone otherwise, so that no later command goes to another
/// network unasked. A name that pins another network is never taken over.
fn pin(desk: &Desk, file: &ContextFile) -> Result<bool, Failure> {
    let name = &file.name;
    if let Some(earlier) = context::saved(name)?.filter(|earlier| earlier.genesis_hash != file.genesis_hash) {
        return Err(Failure::usage(format!(
            "context {name} exists and pins another network, sha256:{}: remove it first (mingzhang context remove {name}) \
             or choose another name",
            earlier.genesis_hash
        )));
    }
    let current = context::current()?;
    // A default that was removed counts as none.
    let holds = current.as_deref().map(context::holds).transpose()?.unwrap_or(false);
    if !holds {
        context::set_current(name)?;
    }
    let is_current = !holds || current.as_deref() == Some(name.as_str());
    if !is_current {
        let (current, name) = (current.unwrap_or_default(), name);
        desk.printer.note(&match desk.language {
            Language::Chinese => format!("默认环境仍是 {current};改用它: mingzhang context use {name}"),
            Language::English => format!("the default stays {current}; to use this one: mingzhang context use {name}"),
        });
    }
    Ok(is_current)
}

fn select(desk: &Desk, name: &str) -> Result<Answer, Failure> {
    context::load(name)?;
    // A file stays the same one wherever the next command is run.
    let name = match context::is_file(name) {
        true => std::path::absolute(name)?.display().to_string(),
        false => name.to_owned(),
    };
    context::set_current(&name)?;
    Ok(Answer::done(json!({ "name": name }), format!("{} {name}", desk.pick("当前环境:", "context:"))))
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
            format!("{mark} {:<12} {}", file.name, file.genesis_hash)
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
    let source = |name: &str| {
        let source = network.sources.get(name).copied().unwrap_or("context");
        match (desk.language, source) {
            (Language::English, source) => source,
            (Language::Chinese, "flag") => "由参数",
            (Language::Chinese, "variable") => "由环境变量",
            (Language::Chinese, "default") => "默认",
            (Language::Chinese, _) => "由环境",
        }
    };
    // Ten columns each.
    let [origin, genesis, nodes, agency] = match desk.language {
        Language::English => ["origin   ", "genesis  ", "nodes    ", "agency   "],
        Language::Chinese => ["网络     ", "创世     ", "节点     ", "单位     "],
    };
    let text = format!(
        "{} ({})\n  {origin}{}\n  {genesis}{}\n           {} ({})\n  {nodes}{} ({})\n  {agency}{} ({})",
        file.name,
        source("context"),
        network.genesis.origin,
        file.genesis_hash,
        file.genesis_file.display(),
        source("genesis_file"),
        file.nodes.join("\n           "),
        source("nodes"),
        file.agency.as_deref().unwrap_or("-"),
        source("agency"),
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
                lines.push(format!("✗ {node}  {}", desk.language.detail(&failure.detail)));
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
