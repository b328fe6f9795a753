//! Records to a network: signed in parallel, sent in batches, asked for until each has a definite answer or the time
//! is over. Sending again is safe: the ledger gives its first answer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mingzhang_ledger::codec::put_counted;
use mingzhang_ledger::crypto::{Hash, SigningKey, sha256};
use mingzhang_ledger::door;
use mingzhang_ledger::outcome::{Code, catalogue};
use mingzhang_ledger::records::object::{RecordLeaf, Ref};
use mingzhang_ledger::transaction::{Payload, Transaction};
use serde_json::Value;

use super::load::{Effect, Ledger, Officer, Outgoing, Standing, Verdict};
use super::prove;
use crate::context::Network;
use crate::interrupt;
use crate::node_api::{NodeApi, Reply};
use crate::output::{Failure, Printer, exit};
use crate::proven::{Asked, Wanted, ask};
use crate::submit::{DEFAULT_LIFE, now_ms};

/// Records of one POST: few at first, more while answers are quick, fewer when they are slow.
const FIRST_RECORDS: usize = 125;
const LEAST_RECORDS: usize = 25;
const MOST_RECORDS: usize = 1_000;
const QUICK: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_secs(6);
/// Requests in flight.
const IN_FLIGHT: usize = 2;
/// How long a node is asked to wait for finality, in seconds.
const WAIT_S: u64 = 20;
/// How long one batch is followed before its records are called unknown.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the seals on a record that is said to be there are waited for.
const SEALS: Duration = Duration::from_secs(4);
/// Pause before a busy or silent node is asked again, unless it says how long.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE_S: u64 = 30;
/// The transaction is not the one that was asked for.
const ANOTHER: Code = Code(4102);

/// A signer and its agency.
pub struct Signer {
    pub agency: String,
    pub key: SigningKey,
}

/// A network as the place of an import.
pub struct NodeLedger<'n> {
    network: &'n Network,
    sender: Sender,
    /// One for each request in flight.
    apis: Vec<NodeApi>,
}

/// What all requests share.
struct Sender {
    origin: String,
    importer: Signer,
    supervisor: Signer,
    printer: Printer,
    /// Whether any node has answered: before that nothing can have been recorded.
    heard: AtomicBool,
    /// Records of the next POST.
    size: AtomicUsize,
}

/// A record on its way: how often it was sent, and what is known.
struct Sent {
    transaction: Transaction,
    attempts: u32,
    standing: Option<Standing>,
}

impl<'n> NodeLedger<'n> {
    pub fn new(
        network: &'n Network,
        timeout: Duration,
        (importer, supervisor): (Signer, Signer),
        printer: Printer,
    ) -> Result<Self, Failure> {
        let apis = (0..IN_FLIGHT).map(|_| NodeApi::new(network, timeout, printer)).collect::<Result<_, _>>()?;
        let origin = network.genesis.origin.clone();
        let size = AtomicUsize::new(FIRST_RECORDS);
        let sender = Sender { origin, importer, supervisor, printer, heard: AtomicBool::new(false), size };
        Ok(Self { network, sender, apis })
    }

    /// One connection for each request in flight.
    pub fn apis(&mut self) -> &mut [NodeApi] {
        &mut self.apis
    }

    /// What a node gives as the bytes of a transaction.
    fn raw(&self, id: &Hash) -> Result<Reply, Failure> {
        let api = self.apis.first().ok_or_else(|| Failure::bug("no request can be in flight"))?;
        api.get(&format!("/transactions/{}/raw", hex::encode(id)))
    }

    /// The height at which the network stands.
    pub fn as_of(&self) -> Value {
        let status = self.apis.first().and_then(|api| api.get_json("/status").ok()).unwrap_or_default();
        let pick = |key: &str| status.get(key).cloned().unwrap_or(Value::Null);
        serde_json::json!({ "height": pick("height"), "time": pick("time"), "tree_size": pick("tree_size") })
    }
}

impl Sender {
    fn sign(&self, record: &Outgoing<'_>) -> Result<Transaction, Failure> {
        let signer = self.signer(record.officer);
        let life_ms = u64::try_from(DEFAULT_LIFE.as_millis()).unwrap_or(u64::MAX);
        let payload = Payload {
            origin: self.origin.as_str().into(),
            record_type: record.record_type.into(),
            record_id: record.id,
            agency: signer.agency.as_str().into(),
            expires_at: now_ms().saturating_add(life_ms),
            body: record.body.clone(),
        };
        Transaction::sign(&payload, &signer.key).map_err(|error| Failure::coded(Code(1004), error.to_string()))
    }

    fn signer(&self, officer: Officer) -> &Signer {
        match officer {
            Officer::Importer => &self.importer,
            Officer::Supervisor => &self.supervisor,
        }
    }

    /// The next records to send, and where they begin.
    fn take<'r, 'b>(&self, records: &'r [Outgoing<'b>], next: &Mutex<usize>) -> Option<(usize, &'r [Outgoing<'b>])> {
        let mut next = next.lock().expect("nothing panics while it holds this number");
        let at = *next;
        let end = at.saturating_add(self.size.load(Ordering::Relaxed)).min(records.len());
        *next = end;
        records.get(at..end).filter(|chunk| !chunk.is_empty()).map(|chunk| (at, chunk))
    }

    /// A network that answers quickly is sent more at once; one that is slow has enough to do.
    fn adapt(&self, records: usize, elapsed: Duration) {
        let size = self.size.load(Ordering::Relaxed);
        if elapsed < QUICK && records >= size {
            self.size.store((size * 2).min(MOST_RECORDS), Ordering::Relaxed);
        } else if elapsed > SLOW {
            self.size.store((size / 2).max(LEAST_RECORDS), Ordering::Relaxed);
        }
    }

    /// Signs and sends one batch, and follows it.
    fn deliver(&self, api: &NodeApi, records: &[Outgoing<'_>]) -> Result<Vec<Standing>, Failure> {
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            sent.push(Sent { transaction: self.sign(record)?, attempts: 0, standing: None });
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pause = self.round(api, &mut sent)?;
            if sent.iter().all(|one| one.standing.is_some()) || Instant::now() >= deadline {
                break;
            }
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
            // What expired unrecorded is signed anew: the record is the same.
            for (one, record) in sent.iter_mut().zip(records).filter(|(one, _)| one.standing.is_none()) {
                if one.transaction.payload().expires_at <= now_ms() {
                    one.transaction = self.sign(record)?;
                }
            }
        }
        Ok(sent.into_iter().map(|one| one.standing.unwrap_or_else(|| unknown(&one.transaction))).collect())
    }

    /// One request with all that is still open; how long to pause before the next, if at all.
    fn round(&self, api: &NodeApi, sent: &mut [Sent]) -> Result<Option<Duration>, Failure> {
        let mut open: Vec<&mut Sent> = sent.iter_mut().filter(|one| one.standing.is_none()).collect();
        let mut body = Vec::new();
        for one in &mut open {
            one.attempts += 1;
            put_counted(&mut body, one.transaction.bytes());
        }
        let reply = match api.post_cose("/batches", &body, WAIT_S) {
            Ok(reply) => reply,
            // Whether a silent node recorded anything is not known; only before the first answer is it certain.
            Err(failure) if failure.exit == exit::UNREACHABLE && self.heard.load(Ordering::Relaxed) => {
                return Ok(Some(PAUSE));
            }
            Err(failure) => return Err(failure),
        };
        self.heard.store(true, Ordering::Relaxed);
        if !(200..300).contains(&reply.status) {
            return match reply.status {
                429 | 503 => Ok(Some(pause_of(&reply))),
                _ => Err(reply.problem()),
            };
        }
        let answer = reply.json()?;
        let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut busy = false;
        for (one, status) in open.into_iter().zip(&items) {
            one.standing = standing(one, status);
            busy |= one.standing.is_none() && status.get("status").and_then(Value::as_str) != Some("pending");
        }
        Ok(busy.then(|| pause_of(&reply)))
    }
}

fn pause_of(reply: &Reply) -> Duration {
    reply.retry_after_s.map_or(PAUSE, |seconds| Duration::from_secs(seconds.clamp(1, MAX_PAUSE_S)))
}

fn unknown(transaction: &Transaction) -> Standing {
    Standing {
        record: record_of(transaction),
        transaction_id: transaction.id(),
        own: true,
        index: None,
        verdict: Verdict::Unknown,
        effect: Effect::Effective,
        flags: Vec::new(),
        repeated: false,
        before: false,
        differs: None,
        detail: "no definite answer yet; run it again, it is safe".to_owned(),
    }
}

fn record_of(transaction: &Transaction) -> Ref {
    let payload = transaction.payload();
    Ref::new(&payload.agency, &payload.record_id)
}

fn code_of(text: &str) -> Option<u16> {
    text.strip_prefix("MZ-")?.parse().ok()
}

/// The standing in a node's answer; None while it is not definite.
fn standing(sent: &Sent, status: &Value) -> Option<Standing> {
    let text = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or("");
    let code = code_of(text("code"));
    let verdict = match (text("status"), text("outcome"), code) {
        ("final", "applied", _) => Verdict::Applied,
        ("final", _, Some(code)) => Verdict::Rejected(code),
        ("pending" | "unknown" | "expired", _, _) => return None,
        (_, _, Some(code)) if catalogue().get(&Code(code)).is_some_and(|entry| entry.retryable) => return None,
        // An envelope whose time ran out is signed anew.
        (_, _, Some(1008)) => return None,
        (_, _, Some(code)) => Verdict::Refused(code),
        _ => return None,
    };
    let stated: Option<Hash> =
        hex::decode(text("tx_id").trim_start_matches("sha256:")).ok().and_then(|bytes| bytes.try_into().ok());
    let flags = status.get("flags").and_then(Value::as_array).cloned().unwrap_or_default();
    let (own, said_repeated) = (sent.transaction.id(), status["repeated"] == true);
    // Only a repetition stands under another transaction than the one that was sent.
    let transaction_id = stated.filter(|_| said_repeated).unwrap_or(own);
    Some(Standing {
        record: record_of(&sent.transaction),
        transaction_id,
        own: transaction_id == own,
        index: status["index"].as_u64(),
        verdict,
        effect: match text("effect") {
            "waiting" => Effect::Waiting,
            "void" => Effect::Void,
            _ => Effect::Effective,
        },
        flags: flags.iter().filter_map(|flag| code_of(flag.as_str()?)).collect(),
        // What this run sent before may have been recorded by that; only a first sending proves an earlier record.
        repeated: sent.attempts == 1 && said_repeated,
        before: false,
        differs: status["differs"].as_str().map(str::to_owned),
        detail: text("detail").to_owned(),
    })
}

impl Ledger for NodeLedger<'_> {
    fn agency(&self, officer: Officer) -> &str {
        &self.sender.signer(officer).agency
    }

    fn send(&mut self, records: &[Outgoing<'_>]) -> Result<Vec<Standing>, Failure> {
        let (sender, next, done) = (&self.sender, Mutex::new(0), AtomicUsize::new(0));
        let work = |api: &NodeApi| -> Delivered {
            let mut delivered = Vec::new();
            while let Some((at, chunk)) = sender.take(records, &next) {
                let began = Instant::now();
                let standings = sender.deliver(api, chunk)?;
                interrupt::answered(standings.iter().filter(|one| one.verdict != Verdict::Unknown).count());
                delivered.push((at, standings));
                sender.adapt(chunk.len(), began.elapsed());
                let done = done.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
                if let Some(record) = chunk.first().filter(|_| chunk.len() < records.len()) {
                    sender.printer.note(&format!("{} {done}/{}", record.record_type, records.len()));
                }
            }
            Ok(delivered)
        };
        let work = &work;
        let parts: Vec<Delivered> = std::thread::scope(|scope| {
            let threads: Vec<_> = self.apis.iter_mut().map(|api| scope.spawn(move || work(api))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker does not panic")).collect()
        });
        let mut answers = Vec::new();
        for part in parts {
            answers.extend(part?);
        }
        answers.sort_by_key(|(at, _)| *at);
        Ok(answers.into_iter().flat_map(|(_, delivered)| delivered).collect())
    }

    fn check_earlier(&self, record: &Outgoing<'_>, id: &Hash) -> Result<(), Failure> {
        let own = self.sender.sign(record)?;
        let name = record_of(&own);
        let another = |what: &str| {
            let id = hex::encode(id);
            Failure::coded(ANOTHER, format!("the node calls {name} recorded as sha256:{id}; {what}"))
        };
        let reply = self.raw(id)?;
        if !(200..300).contains(&reply.status) || sha256(&[&reply.body]) != *id {
            return Err(another("it does not give these bytes"));
        }
        let earlier = Transaction::decode(&reply.body).map_err(|error| another(&error.to_string()))?;
        let key = self.sender.signer(record.officer).key.public();
        if !earlier.is_signed_by(&key) || record_of(&earlier) != name || earlier.payload().origin != self.sender.origin
        {
            return Err(another("that is another record"));
        }
        door::repeat(&earlier, &own).map_or(Ok(()), |refusal| Err(another(&refusal.detail)))
    }

    fn transaction(&self, id: &Hash) -> Result<Transaction, Failure> {
        let bytes = self.raw(id)?.success()?.body;
        if sha256(&[&bytes]) != *id {
            return Err(Failure::coded(ANOTHER, format!("the node's bytes do not hash to {}", hex::encode(id))));
        }
        Transaction::decode(&bytes).map_err(|error| Failure::coded(ANOTHER, error.to_string()))
    }

    fn leaves(&mut self, records: &[Ref], said: bool) -> Result<Vec<Option<RecordLeaf>>, Failure> {
        let keys: Vec<_> = records.iter().map(Ref::key).collect();
        let ([api, ..], Some(first)) = (self.apis.as_slice(), keys.first()) else { return Ok(Vec::new()) };
        let deadline = Instant::now() + if said { SEALS } else { Duration::ZERO };
        let asked = ask((self.network, api), first, Wanted::Present, deadline, self.sender.printer.language)?;
        let proof = match asked {
            Asked::Shown(proof) | Asked::NotYet(Some(proof), _) => proof,
            // Without any seal there is nothing to go on; what is sent is judged by what is proven then.
            Asked::NotYet(None, _) | Asked::Withheld(_) => return Ok(vec![None; keys.len()]),
        };
        let leaves = prove::fetch(&mut self.apis, &proof.header, &keys)?;
        Ok(keys.iter().map(|key| leaves.get(key).cloned().flatten()).collect())
    }
}

/// What one worker delivered: chunks by their position.
type Delivered = Result<Vec<(usize, Vec<Standing>)>, Failure>;
