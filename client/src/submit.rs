//! Build, sign, send, wait: the definite answer about one record. The signed bytes lie in the outbox before they leave,
//! so a rerun of an unresolved command resumes with the same bytes and can never record twice.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::SigningKey;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::schema::RecordType;
use mingzhang_ledger::state::key::id_text;
use mingzhang_ledger::transaction::{Payload, RecordId, Transaction};
use serde_json::json;

use crate::context::{Network, home};
use crate::interrupt;
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit, wrap};
use crate::settle::{Place, Question, follow, is_definite};

/// How long a record may wait for the log, unless the caller says otherwise.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(600);
/// Longest life that the door allows, less a minute for lagging block times.
pub const MAX_LIFE: Duration = Duration::from_secs(24 * 3_600 - 60);

/// When the copy of a record expired that is signed for a dry run.
const LONG_AGO_MS: u64 = 1;
/// Longest wait that a submission asks a node for, in seconds.
const MAX_POST_WAIT_S: u64 = 60;

/// A node of another network: the record was not sent to it.
const OTHER_NETWORK: Code = Code(2009);
/// The time in which the record could be recorded is over.
const EXPIRED: Code = Code(1008);
/// How files of the outbox end that a node refused to take.
const REFUSED: &str = "refused";

/// A record to be signed.
pub struct Draft<'a> {
    pub kind: &'static RecordType,
    pub id: RecordId,
    pub agency: &'a str,
    pub body: Value,
    pub life: Duration,
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| u64::try_from(elapsed.as_millis()).ok())
        .unwrap_or(0)
}

impl Draft<'_> {
    pub fn payload(&self, origin: &str) -> Payload {
        let life_ms = u64::try_from(self.life.as_millis()).unwrap_or(u64::MAX);
        Payload {
            origin: origin.into(),
            record_type: self.kind.name.into(),
            record_id: self.id,
            agency: self.agency.into(),
            expires_at: now_ms().saturating_add(life_ms),
            body: self.body.clone(),
        }
    }

    pub fn sign(&self, origin: &str, key: &SigningKey) -> Result<Transaction, Failure> {
        signed(&self.payload(origin), key)
    }

    /// The same signed for a dry run: it has expired since 1970, so whoever gets it can do nothing else with it.
    pub fn sign_expired(&self, origin: &str, key: &SigningKey) -> Result<Transaction, Failure> {
        signed(&Payload { expires_at: LONG_AGO_MS, ..self.payload(origin) }, key)
    }
}

fn signed(payload: &Payload, key: &SigningKey) -> Result<Transaction, Failure> {
    Transaction::sign(payload, key).map_err(|error| Failure::coded(Code(1004), error.to_string()))
}

/// The signed bytes of records whose answer is not yet known.
pub struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// Creates nothing: that is for what is kept.
    pub fn open(network: &Network) -> Result<Self, Failure> {
        Ok(Self { folder: home()?.join("outbox").join(&network.context.genesis_hash) })
    }

    fn path(&self, transaction: &Transaction) -> PathBuf {
        let payload = transaction.payload();
        self.folder.join(format!("{}.{}.tx", payload.agency, id_text(&payload.record_id)))
    }

    /// The entry to send: an unresolved one of the same record and signer that is still in time, else the new bytes.
    pub fn keep(&self, transaction: Transaction) -> Result<Transaction, Failure> {
        let path = self.path(&transaction);
        if let Some(earlier) = std::fs::read(&path).ok().and_then(|bytes| Transaction::decode(&bytes).ok())
            && same_record(&earlier, &transaction)
            && earlier.payload().expires_at > now_ms()
        {
            return Ok(earlier);
        }
        let part = path.with_extension("part");
        let broken = |error| Failure::not_written(&path, error);
        std::fs::create_dir_all(&self.folder).map_err(broken)?;
        std::fs::write(&part, transaction.bytes()).map_err(broken)?;
        std::fs::rename(&part, &path).map_err(broken)?;
        Ok(transaction)
    }

    pub fn resolved(&self, transaction: &Transaction) -> Result<(), Failure> {
        removed(&self.aside(transaction))?;
        // The name may by now hold another transaction of the record.
        let path = self.path(transaction);
        let held = std::fs::read(&path).is_ok_and(|bytes| bytes == transaction.bytes());
        if held { removed(&path) } else { Ok(()) }
    }

    /// Where the bytes of what a node refused lie: told by `tx list`, never sent again by themselves.
    fn aside(&self, transaction: &Transaction) -> PathBuf {
        self.folder.join(format!("{}.{REFUSED}", hex::encode(transaction.id())))
    }

    pub fn put_aside(&self, transaction: &Transaction) -> Result<(), Failure> {
        match std::fs::rename(self.path(transaction), self.aside(transaction)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub fn is_aside(&self, transaction: &Transaction) -> bool {
        self.aside(transaction).exists()
    }

    /// The signed bytes of a transaction that has no answer yet.
    pub fn bytes_of(&self, id: &str) -> Result<Option<Transaction>, Failure> {
        Ok(self.list()?.into_iter().find(|transaction| hex::encode(transaction.id()) == id))
    }

    /// What is unresolved, in the order of expiry.
    pub fn list(&self) -> Result<Vec<Transaction>, Failure> {
        in_folder(&self.folder)
    }

    /// What is unresolved on other networks, with their genesis hashes.
    pub fn others(&self) -> Result<Vec<(String, Transaction)>, Failure> {
        let mut found = Vec::new();
        let Some(all) = self.folder.parent() else { return Ok(found) };
        for path in paths(all)? {
            if path == self.folder || !path.is_dir() {
                continue;
            }
            let hash = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.extend(in_folder(&path)?.into_iter().map(|transaction| (hash.clone(), transaction)));
        }
        Ok(found)
    }
}

fn removed(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// A transaction whose answer became known in another way than by sending it leaves the outbox. That answer stands, also
/// where there is no outbox or it cannot be changed: sending what stays there gives the same answer once more.
pub fn leave_outbox(network: &Network, id: &str) {
    let Ok(outbox) = Outbox::open(network) else { return };
    if let Ok(Some(known)) = outbox.bytes_of(id) {
        let _stays = outbox.resolved(&known);
    }
}

/// What lies in a folder; nothing where there is none.
fn paths(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Failure::unreadable(folder, error))?,
    };
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn in_folder(folder: &Path) -> Result<Vec<Transaction>, Failure> {
    let mut found = Vec::new();
    for path in paths(folder)? {
        if path.extension().is_some_and(|extension| extension == "tx" || extension == REFUSED) {
            let bytes = std::fs::read(&path).map_err(|error| Failure::unreadable(&path, error))?;
            found.extend(Transaction::decode(&bytes).ok());
        }
    }
    found.sort_by_key(|transaction| transaction.payload().expires_at);
    Ok(found)
}

/// Equality is judged on the record, not on its envelope (D14).
fn same_record(a: &Transaction, b: &Transaction) -> bool {
    let (a_payload, b_payload) = (a.payload(), b.payload());
    a.key_id() == b.key_id()
        && a_payload.origin == b_payload.origin
        && a_payload.record_type == b_payload.record_type
        && a_payload.record_id == b_payload.record_id
        && a_payload.agency == b_payload.agency
        && a_payload.body == b_payload.body
}

/// Sends one signed transaction and waits for its definite answer, `wait_s` seconds at most.
pub fn send(
    network: &Network,
    api: &NodeApi,
    transaction: Transaction,
    wait_s: u64,
    language: Language,
) -> Result<Answer, Failure> {
    let deadline = Instant::now() + Duration::from_secs(wait_s);
    let outbox = Outbox::open(network)?;
    let transaction = outbox.keep(transaction)?;
    interrupt::watch(api.printer(), interrupt::of(&transaction));
    let status = match api.post_cose("/transactions", transaction.bytes(), wait_s.min(MAX_POST_WAIT_S)) {
        Ok(reply) if (200..300).contains(&reply.status) => reply.json()?,
        Ok(reply) => match reply.problem() {
            // Only a sealed block past its time shows that it was never recorded.
            failure if failure.code == Some(EXPIRED) => unknown(&transaction),
            failure => return Err(refused(&outbox, &transaction, failure)?),
        },
        Err(failure) => return Err(refused(&outbox, &transaction, failure)?),
    };
    let place = Place::new(network, api, language, deadline);
    let question = Question::of(&transaction);
    let answer = follow(&place, &question, status)?;
    if is_definite(&answer) {
        // The answer stands, also where its entry cannot be taken away.
        let _stays = outbox.resolved(&transaction);
    }
    Ok(answer)
}

/// The standing of a transaction of which nothing is said.
fn unknown(transaction: &Transaction) -> serde_json::Value {
    let payload = transaction.payload();
    json!({
        "tx_id": format!("sha256:{}", hex::encode(transaction.id())), "record_type": payload.record_type,
        "agency_id": payload.agency, "record_id": id_text(&payload.record_id), "status": "unknown", "outcome": null,
        "code": null,
    })
}

/// A failure to send, with what became of the record: kept to be sent again, or not worth sending.
fn refused(outbox: &Outbox, transaction: &Transaction, mut failure: Failure) -> Result<Failure, Failure> {
    let payload = transaction.payload();
    // What may have arrived may be recorded yet, so silence after sending is no refusal.
    if failure.data.get("may_have_arrived").and_then(serde_json::Value::as_bool) == Some(true) {
        failure = Failure { data: failure.data, ..Failure::coded(Code(2008), failure.detail) };
    }
    let kept = matches!(failure.exit, exit::UNREACHABLE | exit::NOT_YET_KNOWN) || failure.code == Some(OTHER_NETWORK);
    if kept {
        let record = format!("{}/{}", payload.agency, id_text(&payload.record_id));
        failure.detail = format!("{}; the record is kept in the outbox: {record}", failure.detail);
    } else {
        // One node's word: should it have lied, the bytes still find their answer.
        outbox.put_aside(transaction)?;
    }
    failure.data = json!({
        "tx_id": format!("sha256:{}", hex::encode(transaction.id())), "record_type": payload.record_type,
        "agency_id": payload.agency, "record_id": id_text(&payload.record_id), "kept_in_outbox": kept,
        "problem": failure.data,
    });
    Ok(failure)
}

/// What a node says about a transaction by its id in hexadecimal.
pub fn status(api: &NodeApi, tx_id: &str, wait_s: u64) -> Result<serde_json::Value, Failure> {
    let query = if wait_s > 0 { format!("?wait={wait_s}") } else { String::new() };
    api.get_json(&format!("/transactions/{tx_id}/status{query}"))
}

/// Exit status and words for a status document; whoever calls it has proven what is definite in it.
pub fn describe(status: serde_json::Value, language: Language) -> Answer {
    let text = |key: &str| status.get(key).and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
    let height = status.get("height").and_then(serde_json::Value::as_u64);
    let at = height.map_or(String::new(), |height| match language {
        Language::Chinese => format!("(高度 {height})"),
        Language::English => format!(" (height {height})"),
    });
    let tx_id = text("tx_id");
    let repeated = status.get("repeated").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let again = if repeated { language.pick(",未重复记账", "; not recorded again") } else { "" };
    let mut answer = Answer::done(status.clone(), "");
    answer.text = match (text("status").as_str(), text("outcome").as_str()) {
        // Whoever sends it again is told the same: what it waits for, or that it ended.
        ("final", "applied") => match text("effect").as_str() {
            "waiting" => format!("{tx_id}\n  {}", waiting(&status, &format!("{at}{again}"), language)),
            "void" => {
                format!(
                    "{tx_id}\n  {}{at}{again}",
                    language.pick("已记录,未生效即已终止", "recorded, ended without effect")
                )
            }
            // What was agreed holds from the time that the proposal states.
            _ if text("record_type") == "proposal" => {
                let passed = language.pick("已最终确认,提案已通过", "final, the proposal has passed");
                let from = language.pick("生效时间见 gov show", "when it is in force: gov show");
                format!("{tx_id}\n  {passed}{at}{again}; {from}")
            }
            _ if repeated => format!("{tx_id}\n  {}{at}{again}", language.pick("此前已最终确认", "was final before")),
            _ => format!("{tx_id}\n  {}{at}", language.pick("已最终确认,已生效", "final, applied")),
        },
        ("final", _) => {
            answer.exit = exit::REJECTED;
            let code = text("code").strip_prefix("MZ-").and_then(|code| code.parse().ok()).map(Code);
            answer.reason = code.map(|code| (code, text("detail")));
            format!(
                "{tx_id}\n  {}{at}",
                language.pick("已驳回,驳回已记入账本", "rejected; the rejection is on the ledger")
            )
        }
        ("expired", _) => {
            answer.exit = exit::NOT_FOUND;
            format!("{tx_id}\n  {}{at}", language.pick("已过期,未记录", "expired, never recorded"))
        }
        ("unknown", _) => {
            answer.exit = exit::NOT_YET_KNOWN;
            format!("{tx_id}\n  {}", language.pick("本节点未知", "unknown to this node"))
        }
        _ => {
            answer.exit = exit::NOT_YET_KNOWN;
            format!(
                "{tx_id}\n  {}",
                language.pick("待确认;可再次运行,不会重复记账", "pending; run it again, it is safe")
            )
        }
    };
    answer
}

/// A recorded transaction that others must still act on: whom it waits for.
fn waiting(status: &serde_json::Value, at: &str, language: Language) -> String {
    let words = match awaited(status) {
        Awaited::Bank => language.pick("已记录,待银行回单", "recorded, waits for the bank"),
        Awaited::Votes => language.pick("已记录,待表决", "recorded, open for votes"),
        Awaited::Approval => language.pick("已记录,待批准", "recorded, waits for approval"),
    };
    let Some(needed) = still_needed(status, language) else { return format!("{words}{at}") };
    let command = approval(status).map_or(String::new(), |(record, digest)| {
        // Without a key it would be signed by whoever asked: the approver names another.
        let whose =
            language.pick("由批准人运行,KEY 换成其密钥:", "for the approver to run; KEY is the approver's key:");
        let named = format!("--waiting {record} \\\n      --digest {digest}");
        format!("\n    {whose}\n    mingzhang record approve --key KEY \\\n      {named}")
    });
    format!("{words}{at}\n{}{command}", wrap(&needed, 4))
}

/// What a record waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    Approval,
    Bank,
    Votes,
}

/// What a status document or a dry run waits for first.
pub fn awaited(status: &serde_json::Value) -> Awaited {
    let kinds: Vec<&str> = acts(status).iter().filter_map(|act| act.get("record_type")?.as_str()).collect();
    match kinds.first() {
        Some(&"vote") => Awaited::Votes,
        Some(_) if !kinds.contains(&"approve") => Awaited::Bank,
        _ => Awaited::Approval,
    }
}

fn acts(status: &serde_json::Value) -> &[serde_json::Value] {
    status.get("waits_for").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice)
}

/// Who must still act, if anybody must, in one sentence.
pub fn still_needed(status: &serde_json::Value, language: Language) -> Option<String> {
    let text = |item: &serde_json::Value, key: &str| item.get(key).and_then(|value| value.as_str().map(str::to_owned));
    let act = |item: &serde_json::Value| {
        let kind = text(item, "record_type");
        let anybody =
            (kind.as_deref() == Some("approve")).then(|| language.pick("另一单位", "another agency").to_owned());
        let role = text(item, "role").map(|role| format!("({role})"));
        let told = item.get("claimed").map(|_| language.pick("(节点所述)", "(says the node)").to_owned());
        [text(item, "agency_id").or(anybody), kind, role, told].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let parts: Vec<String> = acts(status).iter().map(act).collect();
    let needed = language.pick("还需", "still needed");
    (!parts.is_empty()).then(|| format!("{needed}: {}", parts.join(", ")))
}

/// What an approver names: the waiting record and, as digest, its transaction's id. None where nobody is to approve.
fn approval(status: &serde_json::Value) -> Option<(String, &str)> {
    let text = |key: &str| status.get(key).and_then(serde_json::Value::as_str);
    let mut items = status.get("waits_for")?.as_array()?.iter();
    items.find(|item| item.get("record_type").and_then(serde_json::Value::as_str) == Some("approve"))?;
    Some((format!("{}/{}", text("agency_id")?, text("record_id")?), text("tx_id")?.trim_start_matches("sha256:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: serde_json::Value) -> (u8, String) {
        let answer = describe(status, Language::English);
        (answer.exit, answer.text)
    }

    #[test]
    fn a_record_that_waits_is_never_called_applied() {
        let waiting = |kind: &str| {
            json!({ "tx_id": "sha256:00", "status": "final", "outcome": "applied", "effect": "waiting", "height": 7,
                    "waits_for": [{ "record_type": kind, "agency_id": "bank", "role": "agent_bank" }] })
        };
        let (exit, text) = said(waiting("approve"));
        assert_eq!(exit, exit::DONE);
        assert!(text.contains("waits for approval (height 7)\n    still needed: bank approve (agent_bank)"), "{text}");
        assert!(said(waiting("payment_confirm")).1.contains("waits for the bank"));
        // Sent again, it waits as before.
        let mut again = waiting("approve");
        again["repeated"] = json!(true);
        let (exit, text) = said(again);
        assert_eq!(exit, exit::DONE);
        assert!(text.contains("waits for approval (height 7); not recorded again\n    still needed: bank"), "{text}");
        let mut void = waiting("approve");
        (void["repeated"], void["effect"], void["waits_for"]) = (json!(true), json!("void"), json!([]));
        assert!(said(void).1.contains("ended without effect"));
        assert!(
            said(waiting("vote")).1.contains("open for votes (height 7)\n    still needed: bank vote (agent_bank)")
        );
        let mut any = waiting("approve");
        any["waits_for"][0]["agency_id"] = serde_json::Value::Null;
        assert!(said(any).1.contains("still needed: another agency approve (agent_bank)"));
        let passed = json!({ "tx_id": "sha256:00", "record_type": "proposal", "status": "final", "outcome": "applied",
                             "effect": "effective" });
        let (_, text) = said(passed);
        assert!(text.contains("the proposal has passed") && !text.contains("applied"), "{text}");
    }

    #[test]
    fn every_status_has_its_exit() {
        for (status, outcome, expected) in [
            ("final", "applied", exit::DONE),
            ("final", "rejected", exit::REJECTED),
            ("expired", "", exit::NOT_FOUND),
            ("unknown", "", exit::NOT_YET_KNOWN),
            ("pending", "", exit::NOT_YET_KNOWN),
        ] {
            let (exit, text) = said(json!({ "tx_id": "sha256:00", "status": status, "outcome": outcome }));
            assert_eq!(exit, expected, "{text}");
        }
    }
}
