//! Named networks with a pinned genesis hash, and where each setting of a command came from: a flag beats a
//! variable, a variable beats the context, the context beats the default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::Code;
use serde::{Deserialize, Serialize};

use crate::output::{Failure, exit, exponent_of};

/// A context file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextFile {
    pub name: String,
    /// 64 hex digits; a node or genesis file of another network is refused.
    pub genesis_hash: String,
    pub genesis_file: PathBuf,
    pub nodes: Vec<String>,
    /// Own agency, which bare ids belong to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub keys_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub importer_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub supervisor_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lang: Option<String>,
}

/// Where contexts, keys and the outbox of this user lie.
pub fn home() -> Result<PathBuf, Failure> {
    if let Some(home) = std::env::var_os("MINGZHANG_HOME") {
        return Ok(PathBuf::from(home));
    }
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    match base {
        Some(base) => Ok(base.join("mingzhang")),
        None => Err(Failure::usage("no home directory: set MINGZHANG_HOME")),
    }
}

fn contexts_dir() -> Result<PathBuf, Failure> {
    Ok(home()?.join("contexts"))
}

/// A context is named, or given as a file (anything with a `/` or ending in .toml).
pub fn load(name_or_file: &str) -> Result<ContextFile, Failure> {
    let is_file = name_or_file.contains('/') || name_or_file.ends_with(".toml");
    let path = if is_file { PathBuf::from(name_or_file) } else { contexts_dir()?.join(format!("{name_or_file}.toml")) };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::unreadable(&path, format!("context {name_or_file}: {error}")))?;
    toml::from_str(&text).map_err(|error| Failure::unreadable(&path, error.message()))
}

/// The saved context of that name, if there is one.
pub fn saved(name: &str) -> Result<Option<ContextFile>, Failure> {
    let exists = contexts_dir()?.join(format!("{name}.toml")).exists();
    if exists { load(name).map(Some) } else { Ok(None) }
}

pub fn save(context: &ContextFile) -> Result<PathBuf, Failure> {
    let dir = contexts_dir()?;
    std::fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{}.toml", context.name));
    let text = toml::to_string_pretty(context).map_err(|error| Failure::bug(error.to_string()))?;
    std::fs::write(&path, text)?;
    Ok(path)
}

pub fn remove(name: &str) -> Result<(), Failure> {
    std::fs::remove_file(contexts_dir()?.join(format!("{name}.toml")))
        .map_err(|error| Failure::coded(Code(2011), format!("context {name}: {error}")))
}

/// All saved contexts by name.
pub fn list() -> Result<BTreeMap<String, ContextFile>, Failure> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(contexts_dir()?) else { return Ok(found) };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let context = load(&path.display().to_string())?;
            found.insert(context.name.clone(), context);
        }
    }
    Ok(found)
}

pub fn current() -> Result<Option<String>, Failure> {
    Ok(std::fs::read_to_string(home()?.join("current")).ok().map(|name| name.trim().to_owned()))
}

pub fn set_current(name: &str) -> Result<(), Failure> {
    std::fs::create_dir_all(home()?)?;
    std::fs::write(home()?.join("current"), name)?;
    Ok(())
}

/// The network that a command works on.
pub struct Network {
    pub context: ContextFile,
    pub genesis: Genesis,
    /// Which of `flag`, `variable`, `context` or `default` each value came from.
    pub sources: BTreeMap<&'static str, &'static str>,
}

/// What the command line overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub context: Option<String>,
    pub nodes: Vec<String>,
    pub genesis: Option<PathBuf>,
    pub agency: Option<String>,
}

impl Network {
    /// Loads the context and the genesis file, and checks that the file is the pinned one.
    pub fn open(overrides: &Overrides) -> Result<Self, Failure> {
        let mut sources = BTreeMap::new();
        let variable = std::env::var("MINGZHANG_CONTEXT").ok();
        let (name, source) = match (&overrides.context, variable, current()?) {
            (Some(name), _, _) => (name.clone(), "flag"),
            (None, Some(name), _) => (name, "variable"),
            (None, None, Some(name)) => (name, "default"),
            (None, None, None) => {
                return Err(Failure::usage("no context: run `mingzhang context add` or give --context NAME|FILE"));
            }
        };
        sources.insert("context", source);
        let mut context = load(&name)?;
        for key in ["nodes", "genesis_file", "agency"] {
            sources.insert(key, "context");
        }
        if !overrides.nodes.is_empty() {
            context.nodes.clone_from(&overrides.nodes);
            sources.insert("nodes", "flag");
        } else if let Ok(node) = std::env::var("MINGZHANG_NODE") {
            context.nodes = node.split(',').map(str::to_owned).collect();
            sources.insert("nodes", "variable");
        }
        if let Some(path) = &overrides.genesis {
            context.genesis_file.clone_from(path);
            sources.insert("genesis_file", "flag");
        }
        if let Some(agency) = &overrides.agency {
            context.agency = Some(agency.clone());
            sources.insert("agency", "flag");
        }
        let genesis = read_genesis(&context.genesis_file)?;
        let found = hex::encode(genesis.hash);
        if found != context.genesis_hash.to_lowercase() {
            return Err(Failure::coded(
                Code(4001),
                format!(
                    "{} hashes to {found}, the context pins {}",
                    context.genesis_file.display(),
                    context.genesis_hash
                ),
            )
            .with_exit(exit::USAGE));
        }
        Ok(Self { context, genesis, sources })
    }

    /// Own agency, or the usage error that says how to name it.
    pub fn agency(&self) -> Result<&str, Failure> {
        self.context
            .agency
            .as_deref()
            .ok_or_else(|| Failure::usage("which agency? write agency/id, give --own-agency, or set it in the context"))
    }

    /// The one exponent of the network's currencies; None where they differ.
    pub fn common_exponent(&self) -> Option<u32> {
        let mut exponents = self.genesis.document.currencies.iter().filter_map(|currency| exponent_of(currency));
        let first = exponents.next()?;
        exponents.all(|other| other == first).then_some(first)
    }
}

/// Reads and checks a genesis file.
pub fn read_genesis(path: &Path) -> Result<Genesis, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::unreadable(path, error))?;
    Genesis::parse(&bytes)
        .map_err(|error| Failure::coded(Code(5018), format!("genesis file {}: {error}", path.display())))
}
