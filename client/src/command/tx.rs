//! `mingzhang tx`: signed bytes as files, so that building, signing and sending may happen on three machines.

use std::path::PathBuf;

use clap::Subcommand;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::{Payload, Transaction};
use serde_json::json;

use super::record::duration;
use super::{Desk, simulate};
use crate::output::{Answer, Failure};
use crate::submit::{self, Outbox};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build an unsigned transaction: same flags as `record <type>`, written to --out
    Build {
        /// Record type and its flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        record: Vec<String>,
    },
    /// Sign an unsigned transaction
    Sign {
        file: PathBuf,
        #[arg(long)]
        out: PathBuf,
        /// Officer key
        #[arg(long)]
        key: Option<String>,
    },
    /// What a file says, in words; checks the envelope, sends nothing
    Inspect { file: PathBuf },
    /// Send a signed transaction; the same one again is safe
    Submit {
        /// File, or - for standard input
        file: String,
        #[arg(long, value_name = "30s")]
        wait: Option<String>,
        /// Check here, or with =server let a node say what would happen; nothing is submitted
        #[arg(long, value_name = "server", num_args = 0..=1, require_equals = true, default_missing_value = "here")]
        dry_run: Option<String>,
    },
    /// Wait for the definite answer
    Wait {
        tx: String,
        #[arg(long, value_name = "30s", default_value = "30s")]
        wait: String,
    },
    /// Where a transaction stands
    Status { tx: String },
    /// Transactions in the outbox whose answer is not known
    List,
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Build { record } => ("tx build".into(), build(desk, record)),
        Action::Sign { file, out, key } => ("tx sign".into(), sign(desk, &file, &out, key.as_deref())),
        Action::Inspect { file } => ("tx inspect".into(), inspect(&file)),
        Action::Submit { file, wait, dry_run } => {
            ("tx submit".into(), submit(desk, &file, (wait.as_deref(), dry_run.as_deref())))
        }
        Action::Wait { tx, wait } => ("tx wait".into(), wait_for(desk, &tx, &wait)),
        Action::Status { tx } => {
            let result = desk.api().and_then(|api| submit::status(&api, &tx, 0, desk.language));
            ("tx status".into(), result)
        }
        Action::List => ("tx list".into(), list(desk)),
    }
}

fn build(desk: &Desk, record: Vec<String>) -> Result<Answer, Failure> {
    let words = ["record".to_owned()].into_iter().chain(record).chain(["--unsigned".to_owned()]);
    let command = <super::record::Args as clap::Args>::augment_args(clap::Command::new("record"));
    let matches = command.try_get_matches_from(words).map_err(|error| Failure::usage(error.to_string()))?;
    let args = <super::record::Args as clap::FromArgMatches>::from_arg_matches(&matches)
        .map_err(|error| Failure::usage(error.to_string()))?;
    super::record::run(desk, args).1
}

fn sign(desk: &Desk, file: &PathBuf, out: &PathBuf, key: Option<&str>) -> Result<Answer, Failure> {
    let bytes = read(file)?;
    let payload = Payload::decode(&bytes).map_err(|error| Failure::coded(Code(1001), error.to_string()))?;
    if payload.origin != desk.network()?.genesis.origin {
        return Err(Failure::coded(
            Code(1005),
            format!("{} is for {}, the context is {}", file.display(), payload.origin, desk.network()?.genesis.origin),
        ));
    }
    let key = desk.key(key)?;
    let transaction =
        Transaction::sign(&payload, &key.key).map_err(|error| Failure::coded(Code(1004), error.to_string()))?;
    std::fs::write(out, transaction.bytes())?;
    let tx_id = format!("sha256:{}", hex::encode(transaction.id()));
    Ok(Answer::done(json!({ "tx_id": tx_id, "file": out }), tx_id))
}

fn inspect(file: &PathBuf) -> Result<Answer, Failure> {
    let bytes = read(file)?;
    let (payload, signed) = match Transaction::decode(&bytes) {
        Ok(transaction) => {
            let signer = hex::encode(transaction.key_id());
            let id = format!("sha256:{}", hex::encode(transaction.id()));
            (transaction.payload().clone(), Some((id, signer)))
        }
        Err(error) => match Payload::decode(&bytes) {
            Ok(payload) => (payload, None),
            Err(_) => return Err(Failure::coded(Code(1001), format!("{}: {error}", file.display()))),
        },
    };
    let lens = mingzhang_ledger::records::view::Lens::new(0);
    let body = mingzhang_ledger::records::record_type(&payload.record_type)
        .map(|kind| mingzhang_ledger::records::view::body(kind, &payload.body, &lens));
    let data = json!({
        "tx_id": signed.as_ref().map(|(id, _)| id), "record_type": payload.record_type,
        "record_id": id_text(&payload.record_id), "agency_id": payload.agency,
        "signer": signed.as_ref().map(|(_, signer)| signer), "expires_at": time_text(payload.expires_at),
        "origin": payload.origin, "body": body,
    });
    let text = serde_json::to_string_pretty(&data).map_err(|error| Failure::bug(error.to_string()))?;
    Ok(Answer::done(data, text))
}

fn submit(desk: &Desk, file: &str, (wait, dry_run): (Option<&str>, Option<&str>)) -> Result<Answer, Failure> {
    use std::io::Read as _;
    let bytes = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        read(&PathBuf::from(file))?
    };
    let transaction =
        Transaction::decode(&bytes).map_err(|error| Failure::coded(Code(1001), format!("{file}: {error}")))?;
    let network = desk.network()?;
    if transaction.payload().origin != network.genesis.origin {
        return Err(Failure::coded(
            Code(1005),
            format!("{file} is for {}, the context is {}", transaction.payload().origin, network.genesis.origin),
        ));
    }
    if let Some(place) = dry_run {
        return simulate::dry_run(desk, &transaction, place);
    }
    let wait_s = wait.map(duration).transpose()?.map_or(0, |wait| wait.as_secs());
    submit::send(network, &desk.api()?, transaction, wait_s, desk.language)
}

fn wait_for(desk: &Desk, tx: &str, wait: &str) -> Result<Answer, Failure> {
    let deadline = std::time::Instant::now() + duration(wait)?;
    let api = desk.api()?;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now()).as_secs().min(20);
        let answer = submit::status(&api, tx, left, desk.language)?;
        if answer.exit != crate::output::exit::NOT_YET_KNOWN || left == 0 {
            return Ok(answer);
        }
    }
}

fn list(desk: &Desk) -> Result<Answer, Failure> {
    let unresolved = Outbox::open(desk.network()?)?.list()?;
    let items: Vec<_> = unresolved
        .iter()
        .map(|transaction| {
            let payload = transaction.payload();
            json!({
                "tx_id": format!("sha256:{}", hex::encode(transaction.id())), "record_type": payload.record_type,
                "agency_id": payload.agency, "record_id": id_text(&payload.record_id),
                "expires_at": time_text(payload.expires_at),
            })
        })
        .collect();
    let lines: Vec<_> = unresolved
        .iter()
        .map(|transaction| {
            let payload = transaction.payload();
            format!("{}/{}  {}", payload.agency, id_text(&payload.record_id), payload.record_type)
        })
        .collect();
    Ok(Answer::done(json!({ "items": items, "next_cursor": null }), lines.join("\n")))
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// RFC 3339 in UTC with milliseconds.
pub fn time_text(time_ms: u64) -> String {
    i64::try_from(time_ms)
        .ok()
        .and_then(|time_ms| jiff::Timestamp::from_millisecond(time_ms).ok())
        .map_or_else(|| time_ms.to_string(), |instant| instant.to_string())
}
