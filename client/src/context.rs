//! Named networks with a pinned genesis hash, and where each setting of a command came from: a flag beats a
//! variable, a variable beats the context, the context beats the default.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::Code;
use serde::{Deserialize, Serialize};

use crate::output::{Failure, exit, exponent_of, plain};

const INPUT_UNREADABLE: Code = Code(2011);

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
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = folder("MINGZHANG_HOME") {
        return Ok(home);
    }
    let base = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    match base {
        Some(base) => Ok(base.join("mingzhang")),
        None => Err(Failure::usage("no home directory: set MINGZHANG_HOME")),
    }
}

/// The same where a command that only asks may make it: by name, or in a user's folder that is there.
pub fn standing_home() -> Option<PathBuf> {
    let home = home().ok()?;
    let user = home.ancestors().nth(2).is_some_and(Path::is_dir);
    if user || variable("MINGZHANG_HOME").is_some() { Some(home) } else { None }
}

fn contexts_dir() -> Result<PathBuf, Failure> {
    Ok(home()?.join("contexts"))
}

/// The file of a saved context, whose name leads nowhere else.
fn file_of(name: &str) -> Result<PathBuf, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.starts_with('.') || is_file(name) || !name.bytes().all(is_plain) {
        return Err(Failure::usage(format!(
            "{name:?}: a context's name is of A-Za-z0-9._- and begins with no point; .toml is for files"
        )));
    }
    Ok(contexts_dir()?.join(format!("{name}.toml")))
}

/// A context is named, or given as a file (anything with a `/` or ending in .toml).
pub fn load(name_or_file: &str) -> Result<ContextFile, Failure> {
    let path = if is_file(name_or_file) { PathBuf::from(name_or_file) } else { file_of(name_or_file)? };
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if !is_file(name_or_file) => no_context(name_or_file),
        _ => Failure::unreadable(&path, format!("context {name_or_file}: {error}")),
    })?;
    toml::from_str(&text).map_err(|error| Failure::unreadable(&path, error.message()))
}

fn no_context(name: &str) -> Failure {
    Failure::coded(INPUT_UNREADABLE, format!("there is no context {name}: `mingzhang context list` shows all"))
}

pub fn is_file(name_or_file: &str) -> bool {
    name_or_file.contains('/') || name_or_file.ends_with(".toml")
}

/// The saved context of that name, if there is one.
pub fn saved(name: &str) -> Result<Option<ContextFile>, Failure> {
    let file = file_of(name)?;
    if file.exists() { load(&file.display().to_string()).map(Some) } else { Ok(None) }
}

pub fn save(context: &ContextFile) -> Result<PathBuf, Failure> {
    let path = file_of(&context.name)?;
    std::fs::create_dir_all(contexts_dir()?)?;
    let text = toml::to_string_pretty(context).map_err(|error| Failure::bug(error.to_string()))?;
    std::fs::write(&path, text)?;
    Ok(path)
}

pub fn remove(name: &str) -> Result<(), Failure> {
    std::fs::remove_file(file_of(name)?).map_err(|error| match error.kind() {
        ErrorKind::NotFound => no_context(name),
        _ => Failure::coded(INPUT_UNREADABLE, format!("context {name}: {}", plain(error))),
    })
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

/// Whether the default is still there.
pub fn holds(name_or_file: &str) -> Result<bool, Failure> {
    if is_file(name_or_file) { Ok(Path::new(name_or_file).exists()) } else { Ok(saved(name_or_file)?.is_some()) }
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
    /// How old the seals of an answer may be.
    pub max_age: Option<Duration>,
}

/// A setting by variable; an empty one is none.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What the command line overrides.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub context: Option<String>,
    pub nodes: Vec<String>,
    pub genesis: Option<PathBuf>,
    pub agency: Option<String>,
    pub max_age: Option<Duration>,
}

impl Overrides {
    /// The context in force, by name or file, and where that came from.
    fn context(&self) -> Result<(String, &'static str), Failure> {
        if let Some(name) = &self.context {
            return Ok((name.clone(), "flag"));
        }
        if let Some(name) = variable("MINGZHANG_CONTEXT") {
            return Ok((name, "variable"));
        }
        let none = || Failure::usage("no context: run `mingzhang context add` or give --context NAME|FILE");
        Ok((current()?.ok_or_else(none)?, "default"))
    }

    /// The language of the context in force, where there is one.
    pub fn language(&self) -> Option<String> {
        load(&self.context().ok()?.0).ok()?.lang
    }
}

impl Network {
    /// Loads the context and the genesis file, and checks that the file is the pinned one.
    pub fn open(overrides: &Overrides) -> Result<Self, Failure> {
        let mut sources = BTreeMap::new();
        let (name, source) = overrides.context()?;
        sources.insert("context", source);
        let mut context = load(&name)?;
        for key in ["nodes", "genesis_file", "agency"] {
            sources.insert(key, "context");
        }
        if !overrides.nodes.is_empty() {
            context.nodes.clone_from(&overrides.nodes);
            sources.insert("nodes", "flag");
        } else if let Some(nodes) = variable("MINGZHANG_NODE") {
            context.nodes = nodes.split(',').map(|node| node.trim().to_owned()).collect();
            sources.insert("nodes", "variable");
        }
        if let Some(path) = &overrides.genesis {
            context.genesis_file.clone_from(path);
            sources.insert("genesis_file", "flag");
        } else if let Some(path) = variable("MINGZHANG_GENESIS") {
            context.genesis_file = PathBuf::from(path);
            sources.insert("genesis_file", "variable");
        }
        if let Some(agency) = &overrides.agency {
            context.agency = Some(agency.clone());
            sources.insert("agency", "flag");
        } else if let Some(agency) = variable("MINGZHANG_AGENCY") {
            context.agency = Some(agency);
            sources.insert("agency", "variable");
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
        Ok(Self { context, genesis, sources, max_age: overrides.max_age })
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
