//! `mingzhang key`: officer keys as files of this machine. Registering them is a record, not done here.

use std::path::PathBuf;

use clap::Subcommand;
use mingzhang_ledger::certificate::{KeyRole, possess_bytes};
use mingzhang_ledger::crypto::{SigningKey, key_file};
use serde_json::json;
use zeroize::Zeroizing;

use super::Desk;
use crate::keys::{self, Facts, random};
use crate::output::{Answer, Failure};

/// Shortest passphrase for a new key, as for a node's.
const MIN_PASSPHRASE_CHARACTERS: usize = 8;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; it is encrypted with a passphrase unless --plain (test networks only)
    New {
        name: String,
        #[arg(long)]
        plain: bool,
        /// Pseudonym of the officer, 32 hex digits
        #[arg(long)]
        person: Option<String>,
    },
    /// Keys in the key folder
    List,
    /// Public facts of a key
    Show { name: String },
    /// Copy a key file into the key folder under a name
    Import { name: String, file: PathBuf },
    /// Write a key to a file, encrypted as it is
    Export { name: String, file: PathBuf },
    /// Proof of possession for registering the key
    Prove { name: String },
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::New { name, plain, person } => ("key new".into(), new(desk, &name, plain, person)),
        Action::List => ("key list".into(), list(desk)),
        Action::Show { name } => ("key show".into(), show(desk, &name)),
        Action::Import { name, file } => ("key import".into(), import(desk, &name, &file)),
        Action::Export { name, file } => ("key export".into(), export(desk, &name, &file)),
        Action::Prove { name } => ("key prove".into(), prove(desk, &name)),
    }
}

/// The key folder of the context, or the user's own where there is no context.
fn folder(desk: &Desk) -> Result<PathBuf, Failure> {
    keys::folder(desk.network().ok().map(|network| &network.context))
}

fn file_of(desk: &Desk, name: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') || name.is_empty() {
        return Err(Failure::usage(format!("{name}: a key name has no '/'")));
    }
    Ok(folder(desk)?.join(format!("{name}.pem")))
}

fn new(desk: &Desk, name: &str, plain: bool, person: Option<String>) -> Result<Answer, Failure> {
    let path = file_of(desk, name)?;
    let seed = Zeroizing::new(random::<32>()?);
    let key = SigningKey::from_seed(&seed);
    let text = if plain {
        key_file::plain(&key)
    } else {
        let question = desk.pick("新口令(至少 8 个字符): ", "new passphrase, 8 characters or more: ");
        let first = desk.passphrase.ask(question)?;
        if first.chars().count() < MIN_PASSPHRASE_CHARACTERS {
            return Err(Failure::usage(format!(
                "the passphrase is too short: it must have {MIN_PASSPHRASE_CHARACTERS} characters or more; no key was made"
            )));
        }
        if desk.passphrase.descriptor.is_none() {
            let again = desk.passphrase.ask(desk.pick("再次输入: ", "again: "))?;
            if *first != *again {
                return Err(Failure::usage("the two passphrases differ; no key was made"));
            }
        }
        let salt = key_file::Salt { salt: random()?, vector: random()? };
        key_file::encrypted(&key, first.as_bytes(), &salt)
    };
    let text = text.map(Zeroizing::new).map_err(|error| Failure::bug(error.to_string()))?;
    keys::write(&path, &text)?;
    let agency = desk.network().ok().and_then(|network| network.context.agency.clone());
    let key_id = hex::encode(key.public().key_id());
    let public = hex::encode(key.public().0);
    let facts = Facts { agency, person, roles: Vec::new(), public_key: Some(public.clone()) };
    let sidecar = toml::to_string(&facts).map_err(|error| Failure::bug(error.to_string()))?;
    std::fs::write(path.with_extension("toml"), sidecar)?;
    let data = json!({ "name": name, "file": path, "public_key": public, "key_id": key_id, "encrypted": !plain });
    let told = format!("{name}  {public}\n  {}  {key_id}", desk.pick("密钥编号", "key id"));
    Ok(Answer::done(data, told))
}

fn list(desk: &Desk) -> Result<Answer, Failure> {
    let mut items = Vec::new();
    let mut lines = Vec::new();
    if let Ok(entries) = std::fs::read_dir(folder(desk)?) {
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "pem")) {
            let facts = keys::facts(path)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            lines.push(format!("{name:<24} {:<12} {}", facts.agency.as_deref().unwrap_or("-"), facts.roles.join(",")));
            items.push(json!({ "name": name, "file": path, "agency_id": facts.agency, "roles": facts.roles }));
        }
    }
    Ok(Answer::done(json!({ "items": items }), lines.join("\n")))
}

fn show(desk: &Desk, name: &str) -> Result<Answer, Failure> {
    let opened = keys::open(name, desk.network().ok().map(|network| &network.context), desk.passphrase)?;
    let public = opened.key.public();
    let data = json!({
        "name": opened.name, "public_key": hex::encode(public.0), "key_id": hex::encode(public.key_id()),
        "agency_id": opened.facts.agency, "person": opened.facts.person, "roles": opened.facts.roles,
    });
    let (id, whole) = (desk.pick("密钥编号", "key id"), desk.pick("公钥", "public key"));
    let text = format!("{}\n  {id} {}\n  {whole} {}", opened.name, hex::encode(public.key_id()), hex::encode(public.0));
    Ok(Answer::done(data, text))
}

fn import(desk: &Desk, name: &str, file: &PathBuf) -> Result<Answer, Failure> {
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(|error| Failure::unreadable(file, error))?);
    if !key_file::is_encrypted(&text) {
        key_file::read(&text, None).map_err(|error| Failure::unreadable(file, error))?;
    }
    let path = file_of(desk, name)?;
    keys::write(&path, &text)?;
    Ok(Answer::done(json!({ "name": name, "file": path }), path.display().to_string()))
}

fn export(desk: &Desk, name: &str, file: &PathBuf) -> Result<Answer, Failure> {
    let path = file_of(desk, name)?;
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(|error| Failure::unreadable(&path, error))?);
    keys::write(file, &text)?;
    let encrypted = key_file::is_encrypted(&text);
    Ok(Answer::done(json!({ "name": name, "file": file, "encrypted": encrypted }), file.display().to_string()))
}

fn prove(desk: &Desk, name: &str) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let opened = desk.key(Some(name))?;
    let agency = match &opened.facts.agency {
        Some(agency) => agency.clone(),
        None => network.agency()?.to_owned(),
    };
    let public = opened.key.public();
    let message = possess_bytes(&network.genesis.hash, &agency, KeyRole::Officer, &public);
    let proof = hex::encode(opened.key.sign(&message).0);
    let data = json!({ "name": name, "agency_id": agency, "public_key": hex::encode(public.0), "proof": proof });
    Ok(Answer::done(data, proof))
}
