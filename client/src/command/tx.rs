//! `mingzhang tx`: signed bytes as files, so that building, signing and sending may happen on three machines.

use std::path::PathBuf;

use clap::Subcommand;
use mingzhang_genesis::Genesis;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::view;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::{Payload, RecordId, Transaction};
use serde_json::{Value, json};

use super::query::{asked_for, for_people, lacks_currency, outline, with_units};
use super::record::duration;
use super::{Desk, simulate};
use crate::interrupt;
use crate::output::{Answer, Failure, exponent_of, wrap};
use crate::settle::{Place, Question, follow, is_definite};
use crate::submit::{self, Outbox};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build an unsigned transaction: same flags as `record <type>`, written to --out
    Build(super::record::Args),
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
    Inspect {
        file: PathBuf,
        /// Show amounts in this currency where the record names none; else minor units are shown
        #[arg(long, value_name = "ISO4217")]
        currency: Option<String>,
    },
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
        /// Transaction id (64 hex digits), or the record as agency/id
        tx: String,
        #[arg(long, value_name = "30s", default_value = "30s")]
        wait: String,
    },
    /// Where a transaction stands
    Status {
        /// Transaction id (64 hex digits), or the record as agency/id
        tx: String,
    },
    /// Transactions in the outbox whose answer was not known, and where they stand now
    List,
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Build(record) => ("tx build".into(), super::record::build(desk, record)),
        Action::Sign { file, out, key } => ("tx sign".into(), sign(desk, &file, &out, key.as_deref())),
        Action::Inspect { file, currency } => ("tx inspect".into(), inspect(desk, &file, currency.as_deref())),
        Action::Submit { file, wait, dry_run } => {
            ("tx submit".into(), submit(desk, &file, (wait.as_deref(), dry_run.as_deref())))
        }
        Action::Wait { tx, wait } => ("tx wait".into(), wait_for(desk, &tx, &wait)),
        Action::Status { tx } => ("tx status".into(), status(desk, &tx)),
        Action::List => ("tx list".into(), list(desk)),
    }
}

fn sign(desk: &Desk, file: &PathBuf, out: &PathBuf, key: Option<&str>) -> Result<Answer, Failure> {
    let bytes = read(file)?;
    let payload = Payload::decode(&bytes).map_err(|error| Failure::coded(Code(1001), error.to_string()))?;
    // The flag's genesis file, which needs no context, or the context's.
    let origin = desk.genesis()?.origin;
    if payload.origin != origin {
        let detail = format!("{} is for {}, this network is {origin}", file.display(), payload.origin);
        return Err(Failure::coded(Code(1005), detail));
    }
    let key = desk.key(key)?;
    let kind = mingzhang_ledger::records::record_type(&payload.record_type);
    let about = kind.and_then(|kind| super::waiting::unseen(kind, &payload.body));
    desk.confirm((&payload.record_type, &payload.body), &key, &payload.agency, about)?;
    let transaction =
        Transaction::sign(&payload, &key.key).map_err(|error| Failure::coded(Code(1004), error.to_string()))?;
    std::fs::write(out, transaction.bytes()).map_err(|error| Failure::not_written(out, error))?;
    let mut data = described(transaction.payload(), Some(&transaction));
    data["file"] = json!(out);
    Ok(Answer::done(data, format!("sha256:{}", hex::encode(transaction.id()))))
}

fn inspect(desk: &Desk, file: &PathBuf, currency: Option<&str>) -> Result<Answer, Failure> {
    if let Some(code) = currency.filter(|code| exponent_of(code).is_none()) {
        return Err(Failure::usage(format!("--currency {code} is not a currency")));
    }
    let bytes = read(file)?;
    let (payload, signed) = match Transaction::decode(&bytes) {
        Ok(transaction) => (transaction.payload().clone(), Some(transaction)),
        Err(error) => match Payload::decode(&bytes) {
            Ok(payload) => (payload, None),
            Err(_) => return Err(Failure::coded(Code(1001), format!("{}: {error}", file.display()))),
        },
    };
    let mut data = described(&payload, signed.as_ref());
    if lacks_currency(&data) {
        let only = currency.map(str::to_owned).or_else(|| {
            let genesis = desk.genesis().ok()?;
            only_currency((&genesis.origin, &genesis.document.currencies), &payload)
        });
        data = described_in(only.as_deref(), &payload, signed.as_ref());
        let told = match (&only, currency) {
            (None, _) => desk.pick(
                "记录未写明币种:金额以最小单位(如分)表示;加 --currency 代码 则按该币种显示",
                "the record names no currency: its amounts are in minor units, such as cents; --currency CODE shows \
                 them in one",
            ),
            (Some(_), None) => desk.pick(
                "记录未写明币种:金额按本网络唯一的币种显示",
                "the record names no currency: its amounts are shown in the only one of the network",
            ),
            (Some(_), Some(_)) => desk.pick(
                "记录未写明币种:金额按 --currency 显示",
                "the record names no currency: its amounts are shown in that of --currency",
            ),
        };
        desk.printer.note(&wrap(told, 0));
    }
    // Without a network, times stay in UTC, which they say.
    let network = desk.network().ok();
    let shown = network.map_or_else(
        || with_units(&data, desk.language),
        |network| for_people(&data, network.genesis.founding.network.utc_offset_minutes, desk.language),
    );
    Ok(Answer::done(data, outline(&shown, 0)))
}

/// The currency of a network that has one, where the transaction is for that network.
fn only_currency((origin, currencies): (&str, &[String]), payload: &Payload) -> Option<String> {
    match currencies {
        [only] if payload.origin == origin => Some(only.clone()),
        _ => None,
    }
}

/// What a transaction's bytes say; id and signer once it is signed. What it does to the ledger only a node can tell.
pub fn described(payload: &Payload, signed: Option<&Transaction>) -> Value {
    described_in(None, payload, signed)
}

/// The same with amounts in a currency, where the record itself names none.
fn described_in(currency: Option<&str>, payload: &Payload, signed: Option<&Transaction>) -> Value {
    let lens = view::Lens { currency: currency.map(str::to_owned), ..view::Lens::new(0) };
    let body =
        mingzhang_ledger::records::record_type(&payload.record_type).map(|kind| view::body(kind, &payload.body, &lens));
    json!({
        "tx_id": signed.map(|signed| format!("sha256:{}", hex::encode(signed.id()))),
        "record_type": payload.record_type, "record_id": id_text(&payload.record_id), "agency_id": payload.agency,
        "signer": signed.map(|signed| hex::encode(signed.key_id())), "expires_at": time_text(payload.expires_at),
        "origin": payload.origin, "body": body, "effects": [],
    })
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
        if place == "server" {
            desk.printer
                .note(desk.pick("节点会收到可以提交的已签名字节", "the node gets signed bytes that it could submit"));
        }
        return simulate::dry_run(desk, &transaction, place);
    }
    let wait_s = wait.map(duration).transpose()?.map_or(0, |wait| wait.as_secs());
    submit::send(network, &desk.api()?, transaction, wait_s, desk.language)
}

fn wait_for(desk: &Desk, tx: &str, wait: &str) -> Result<Answer, Failure> {
    let deadline = std::time::Instant::now() + duration(wait)?;
    let asked = asked_for(desk, tx)?;
    interrupt::watch(desk.printer, json!({ "tx_id": format!("sha256:{}", asked.0), "status": "pending" }));
    let status = submit::status(&desk.api()?, &asked.0, 0)?;
    settled(desk, &asked, (status, deadline))
}

fn status(desk: &Desk, tx: &str) -> Result<Answer, Failure> {
    let asked = asked_for(desk, tx)?;
    let status = submit::status(&desk.api()?, &asked.0, 0)?;
    settled(desk, &asked, (status, std::time::Instant::now()))
}

/// The answer with its proof. A definite one ends the transaction's stay in the outbox, where there is one.
fn settled(
    desk: &Desk,
    (id, record): &(String, Option<(String, RecordId)>),
    (status, deadline): (Value, std::time::Instant),
) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let own = Outbox::open(network).and_then(|outbox| outbox.bytes_of(id)).unwrap_or_default();
    let question = Question { tx_id: id.clone(), record: record.clone(), own: own.as_ref() };
    let api = desk.api()?;
    let answer = follow(&Place::new(network, &api, desk.language, deadline), &question, status)?;
    if is_definite(&answer) {
        submit::leave_outbox(network, id);
    }
    Ok(answer)
}

/// What the outbox holds. A node that answers says where each transaction of this network stands: what is final is told
/// once more and leaves the outbox. What is kept for other networks is marked and left alone.
fn list(desk: &Desk) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let outbox = Outbox::open(network)?;
    let mut api = desk.api().ok();
    let (mut items, mut lines) = (Vec::new(), Vec::new());
    for transaction in outbox.list()? {
        let id = hex::encode(transaction.id());
        let payload = transaction.payload();
        let asked = (id.clone(), Some((payload.agency.to_string(), payload.record_id)));
        let refused = outbox.is_aside(&transaction);
        let data = match api.as_ref().map(|api| submit::status(api, &id, 0)) {
            Some(Ok(status)) => settled(desk, &asked, (status, std::time::Instant::now()))?.data,
            // One silent network is not asked again for every line.
            Some(Err(_)) => {
                api = None;
                Value::Null
            }
            None => Value::Null,
        };
        let status = data["status"].as_str().unwrap_or("not_asked");
        let code = data["code"].as_str().unwrap_or("");
        let words = match (data["proven"] == true, status) {
            (false, "final" | "expired") => {
                desk.pick("节点称已有结果,尚未核实", "final, says the node; not proven yet")
            }
            (_, "unknown") if refused => {
                desk.pick("节点拒收;过期证实后移出", "refused by a node; leaves once provably expired")
            }
            _ => standing(desk, status, data["outcome"].as_str().unwrap_or("")),
        };
        let standing = format!("{words} {code}");
        lines.push(line(&transaction, standing.trim_end()));
        let mut item = item(&transaction, &network.context.genesis_hash);
        item["status"] = json!(status);
        item["outcome"] = data["outcome"].clone();
        item["proven"] = json!(data["proven"] == true);
        items.push(item);
    }
    for (genesis_hash, transaction) in outbox.others()? {
        let words = format!("{} {}", desk.pick("另一个网络", "another network:"), transaction.payload().origin);
        lines.push(line(&transaction, &words));
        let mut item = item(&transaction, &genesis_hash);
        item["status"] = json!("other_network");
        items.push(item);
    }
    Ok(Answer::done(json!({ "items": items, "next_cursor": null }), lines.join("\n")))
}

fn standing(desk: &Desk, status: &str, outcome: &str) -> &'static str {
    let pick = |chinese, english| desk.language.pick(chinese, english);
    match (status, outcome) {
        ("final", "applied") => pick("已最终确认,未被驳回;移出待发箱", "final, applied; leaves the outbox"),
        ("final", _) => pick("已驳回;移出待发箱", "final, REJECTED; leaves the outbox"),
        ("expired", _) => pick("已过期,未记录;移出待发箱", "expired, never recorded; leaves the outbox"),
        ("pending", _) => pick("待确认", "pending"),
        ("unknown", _) => pick("节点未知", "unknown to the node"),
        _ => pick("未查询:节点未应答", "not asked: no node answers"),
    }
}

fn item(transaction: &Transaction, genesis_hash: &str) -> Value {
    let payload = transaction.payload();
    json!({
        "tx_id": format!("sha256:{}", hex::encode(transaction.id())), "record_type": payload.record_type,
        "agency_id": payload.agency, "record_id": id_text(&payload.record_id),
        "expires_at": time_text(payload.expires_at), "genesis_hash": format!("sha256:{genesis_hash}"),
    })
}

fn line(transaction: &Transaction, standing: &str) -> String {
    let payload = transaction.payload();
    let record = format!("{}/{}", payload.agency, id_text(&payload.record_id));
    let id = hex::encode(transaction.id());
    format!("{record}  {}  {standing}\n  sha256:{id}", payload.record_type)
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::unreadable(file, error))
}

/// RFC 3339 in UTC with milliseconds.
pub fn time_text(time_ms: u64) -> String {
    i64::try_from(time_ms)
        .ok()
        .and_then(|time_ms| jiff::Timestamp::from_millisecond(time_ms).ok())
        .map_or_else(|| time_ms.to_string(), |instant| instant.to_string())
}

/// The same for people: RFC 3339 with the network's offset.
pub fn local_time(genesis: &Genesis, time_ms: u64) -> String {
    simulate::value(&view::time(time_ms, genesis.founding.network.utc_offset_minutes))
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::codec::Value as Body;

    use super::*;

    #[test]
    fn amounts_are_read_in_the_only_currency_of_their_own_network() {
        let payload = Payload {
            origin: "fujian".into(),
            record_type: "appropriate".into(),
            record_id: [1; 16],
            agency: "finance".into(),
            expires_at: 1,
            body: Body::text_map([("amount", Body::Uint(1_200))]),
        };
        let codes = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
        let shown = |origin: &str, currencies: &[&str]| {
            let currency = only_currency((origin, &codes(currencies)), &payload);
            described_in(currency.as_deref(), &payload, None)["body"]["amount"]["amount"].clone()
        };
        assert_eq!(shown("fujian", &["CNY"]), "12.00");
        assert_eq!(shown("fujian", &["CNY", "JPY"]), Value::Null);
        assert_eq!(shown("zhejiang", &["CNY"]), Value::Null);
    }
}
