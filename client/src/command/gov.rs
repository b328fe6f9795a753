//! `mingzhang gov`: proposals and votes of the member agencies. What a change of the authority set does to the network is
//! shown before anything is signed; the rules are the ledger's.

mod impact;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_ledger::authority::AuthoritySet;
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{SigningKey, sha256};
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::governance::{self, Proposal};
use mingzhang_ledger::records::object::Object;
use mingzhang_ledger::records::{record_type, view};
use mingzhang_ledger::state::key::{self, id_text, parse_id};
use mingzhang_ledger::transaction::RecordId;
use serde_json::{Map, json};

use self::impact::{Impact, Network as Members};
use super::query::as_claim;
use super::record::{duration, read_source, with_made_id};
use super::{Desk, simulate};
use crate::body::{self, Reading};
use crate::keys::random;
use crate::output::{Answer, Failure, Language, exit, wrap};
use crate::proven::present;
use crate::submit::{self, DEFAULT_LIFE, Draft, now_ms};

const SET_ACTION: &str = "authority_set";
/// Begins what the id of a vote is made of.
const ONCE: &[u8] = b"mingzhang/client/once/v1\0";
/// The agency has voted already; the proposal is decided or over.
const FOR_GOOD: [Code; 2] = [Code(3802), Code(3011)];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Propose an action: agency_register, agency_retire, authority_set, key_suspend, parameter_set, calendar_set
    Propose {
        /// Name of the action
        action: String,
        #[command(flatten)]
        content: Content,
        /// When it takes effect: a duration from now such as 48h, or an RFC 3339 time; agencies vote before the notice
        #[arg(long, value_name = "48h|TIME")]
        from: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Vote for or against a proposal, agency/id
    Vote {
        proposal: String,
        /// yes or no
        #[arg(value_parser = ["yes", "no"])]
        answer: String,
        #[command(flatten)]
        sending: Sending,
    },
    /// Say that the own node is ready for the next epoch, with the file of `mingzhang-node authority ready`
    Ready {
        file: PathBuf,
        #[command(flatten)]
        sending: Sending,
    },
    /// A proposal: its votes, what is still needed, what it does
    Show { proposal: String },
    /// All proposals
    List,
    /// What a change of the authority set would do; without one, how the network stands
    Impact {
        #[command(flatten)]
        content: Content,
    },
}

/// What is proposed.
#[derive(Debug, clap::Args)]
struct Content {
    /// The action's body as JSON
    #[arg(long, value_name = "FILE|-")]
    body: Option<String>,
    /// authority_set: a seat that joins or changes, from `mingzhang-node authority seat` (repeatable)
    #[arg(long = "seat", value_name = "FILE")]
    seats: Vec<String>,
    /// authority_set: an agency that leaves (repeatable)
    #[arg(long = "remove", value_name = "AGENCY")]
    remove: Vec<String>,
    /// authority_set: a consensus parameter (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Sending {
    /// Officer key of an administrator
    #[arg(long = "key", value_name = "NAME|FILE")]
    key: Option<String>,
    /// Record id. If not given, a proposal's is random; a vote's is made of what it says, so that a rerun is no second
    #[arg(long)]
    id: Option<String>,
    /// Wait for the definite answer
    #[arg(long, value_name = "30s", default_value = "0")]
    wait: String,
    /// Send even what would halt the network with the members that are online now
    #[arg(long)]
    accept_halt: bool,
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.action {
        Action::Propose { action, content, from, sending } => {
            let asked = Proposed { action: &action, content: &content, from: &from };
            ("gov propose".into(), propose(desk, &asked, &sending))
        }
        Action::Vote { proposal, answer, sending } => {
            ("gov vote".into(), vote(desk, &proposal, answer == "yes", &sending))
        }
        Action::Ready { file, sending } => ("gov ready".into(), ready(desk, &file, &sending)),
        Action::Show { proposal } => ("gov show".into(), show(desk, &proposal)),
        Action::List => ("gov list".into(), list(desk)),
        Action::Impact { content } => ("gov impact".into(), weigh(desk, &content)),
    }
}

struct Proposed<'a> {
    action: &'a str,
    content: &'a Content,
    from: &'a str,
}

/// The JSON body of an action, from its file and flags.
fn content_json(content: &Content) -> Result<serde_json::Value, Failure> {
    let mut members: Map<String, serde_json::Value> = match &content.body {
        None => Map::new(),
        Some(source) => serde_json::from_str(&read_source(source)?)
            .map_err(|error| Failure::usage(format!("--body {source}: {error}")))?,
    };
    let seat = |file: &String| -> Result<serde_json::Value, Failure> {
        serde_json::from_str(&read_source(file)?).map_err(|error| Failure::usage(format!("--seat {file}: {error}")))
    };
    let parameter = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| Failure::usage(format!("--set {text}: NAME=VALUE")))?;
        Ok(json!({ "name": name, "value": value }))
    };
    if !content.seats.is_empty() {
        let seats = content.seats.iter().map(seat).collect::<Result<Vec<_>, _>>()?;
        members.insert("seats".into(), seats.into());
    }
    if !content.remove.is_empty() {
        members.insert("remove".into(), content.remove.clone().into());
    }
    if !content.parameters.is_empty() {
        let parameters = content.parameters.iter().map(parameter).collect::<Result<Vec<_>, Failure>>()?;
        members.insert("parameters".into(), parameters.into());
    }
    Ok(members.into())
}

/// The bytes of an action's body.
fn encoded(desk: &Desk, action: &str, content: &Content) -> Result<Vec<u8>, Failure> {
    let known = governance::ACTIONS.iter().find(|(name, _)| *name == action);
    let (_, fields) = known.ok_or_else(|| {
        let names: Vec<_> = governance::ACTIONS.iter().map(|(name, _)| *name).collect();
        Failure::usage(format!("{action} is no action; there are {}", names.join(", ")))
    })?;
    let network = desk.network()?;
    let agency = network.context.agency.as_deref().unwrap_or_default();
    let reading = Reading { agency, exponent: Some(0) };
    Ok(body::action_from_json(fields, &content_json(content)?, &reading)?.encode())
}

fn propose(desk: &Desk, asked: &Proposed<'_>, sending: &Sending) -> Result<Answer, Failure> {
    let action_body = encoded(desk, asked.action, asked.content)?;
    let members = Members::of(desk.network()?, &desk.api()?)?;
    let impact = warn(desk, (asked.action, &action_body), &members, sending)?;
    let id = match named(sending)? {
        Some(id) => id,
        None => random()?,
    };
    let body = Value::text_map([
        ("action", Value::text(asked.action)),
        ("action_body", Value::bytes(&action_body)),
        ("from_time", Value::Uint(from_time(asked.from)?)),
    ]);
    let result = send(desk, ("proposal", Some(id), body), sending, impact);
    if sending.id.is_some() { result } else { with_made_id(desk, &id_text(&id), result) }
}

fn from_time(text: &str) -> Result<u64, Failure> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(instant.as_millisecond()).map_err(|_| Failure::usage(format!("--from {text}")));
    }
    let after = u64::try_from(duration(text)?.as_millis()).unwrap_or(u64::MAX);
    Ok(now_ms().saturating_add(after))
}

fn vote(desk: &Desk, proposal: &str, yes: bool, sending: &Sending) -> Result<Answer, Failure> {
    let found = find(desk, proposal)?;
    desk.printer.note(&words(desk, &found));
    let members = Members::with(found.set, &desk.api()?)?;
    let asked = (found.proposal.action.as_str(), found.proposal.action_body.as_slice());
    let impact = if yes { warn(desk, asked, &members, sending)? } else { None };
    let reference =
        body::reference(&found.name, "").ok_or_else(|| Failure::usage(format!("{proposal}: agency/id is wanted")))?;
    let body = Value::text_map([("proposal", reference), ("yes", Value::Bool(yes))]);
    send(desk, ("vote", named(sending)?, body), sending, impact)
}

/// What is voted on, from the proven proposal.
fn words(desk: &Desk, found: &Found) -> String {
    let Found { name, view, height, .. } = found;
    let text = |member: &str| simulate::value(&view[member]);
    let proven = desk.pick("经封签证明,高度", "proven at height");
    let mut lines = vec![format!("{name}  {}  ({proven} {height})", text("action"))];
    let from = desk.pick("生效时间", "takes effect");
    lines.push(wrap(&format!("{from}  {}", text("from_time")), 4));
    lines.push(wrap(&text("action_body").replace(',', ", "), 4));
    lines.join("\n")
}

fn ready(desk: &Desk, file: &Path, sending: &Sending) -> Result<Answer, Failure> {
    let source = file.display().to_string();
    let members: Map<String, serde_json::Value> =
        serde_json::from_str(&read_source(&source)?).map_err(|error| Failure::usage(format!("{source}: {error}")))?;
    let kind = record_type("node_ready").ok_or_else(|| Failure::bug("there is no node_ready"))?;
    let body = body::from_json(kind, &members, &Reading { agency: "", exponent: None })?;
    send(desk, ("node_ready", named(sending)?, body), sending, None)
}

/// Shows what a change of the set does, and refuses what would halt the network.
fn warn(
    desk: &Desk,
    (action, action_body): (&str, &[u8]),
    members: &Members,
    sending: &Sending,
) -> Result<Option<Impact>, Failure> {
    if action != SET_ACTION {
        return Ok(None);
    }
    let Some(next) = governance::preview(action_body, &members.set) else { return Ok(None) };
    let impact = Impact::of(members, &next);
    desk.printer.note(&impact.words(desk.language));
    if impact.would_halt() && !sending.accept_halt {
        return Err(impact.refusal());
    }
    Ok(Some(impact))
}

/// The id that the command line gives.
fn named(sending: &Sending) -> Result<Option<RecordId>, Failure> {
    let read = |text: &String| {
        parse_id(text).ok_or_else(|| Failure::usage(format!("--id {text}: 1-16 of A-Za-z0-9._- or 32 hex digits")))
    };
    sending.id.as_ref().map(read).transpose()
}

/// The id of what a key says once: the same words by the same key are the same record, whoever runs the command again.
fn once(name: &str, body: &Value, key: &SigningKey) -> RecordId {
    let digest = sha256(&[ONCE, name.as_bytes(), &key.public().key_id(), &body.encode()]);
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

type Record = (&'static str, Option<RecordId>, Value);

fn send(desk: &Desk, (name, id, body): Record, sending: &Sending, impact: Option<Impact>) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let key = desk.key(sending.key.as_deref())?;
    let agency = match key.facts.agency.clone() {
        Some(agency) => agency,
        None => network.agency()?.to_owned(),
    };
    let kind = record_type(name).ok_or_else(|| Failure::bug(format!("there is no record type {name}")))?;
    desk.confirm((name, &body), &key, &agency, None)?;
    let (made, id) = (id.is_none(), id.unwrap_or_else(|| once(name, &body, &key.key)));
    let draft = Draft { kind, id, agency: &agency, body, life: DEFAULT_LIFE };
    let transaction = draft.sign(&network.genesis.origin, &key.key)?;
    let wait_s = duration(&sending.wait)?.as_secs();
    let mut answer = submit::send(network, &desk.api()?, transaction, wait_s, desk.language)?;
    answer.data["record_id"] = json!(format!("{agency}/{}", id_text(&id)));
    answer.data["impact"] = json!(impact.map(|impact| impact.json()));
    // Another id does not help a second vote, or one whose proposal is over.
    let is_over = answer.reason.as_ref().is_some_and(|(code, _)| FOR_GOOD.contains(code));
    if made && answer.exit == exit::REJECTED && !is_over {
        let again = desk.pick(
            "原因消除后再次提交,请加 --id 另取编号:相同命令仍得同一结果",
            "to say it once more when the reason is gone, give an --id: the same command has the same answer",
        );
        answer.warnings.push(again.to_owned());
    }
    Ok(answer)
}

/// A proposal as a sealed state proves it.
struct Found {
    name: String,
    proposal: Proposal,
    /// For people and programs.
    view: serde_json::Value,
    /// The set that sealed that state.
    set: AuthoritySet,
    height: u64,
}

fn find(desk: &Desk, proposal: &str) -> Result<Found, Failure> {
    let name = super::query::qualified(desk, proposal)?;
    let parts = name.split_once('/').and_then(|(agency, id)| Some((agency, parse_id(id)?)));
    let (agency, id) = parts.ok_or_else(|| Failure::usage(format!("{proposal}: agency/id is wanted")))?;
    let place = (desk.network()?, &desk.api()?);
    let proof = present(place, (&key::record(agency, &id), &name), desk.language)?;
    let height = proof.header.header.height;
    let Some(Object::Proposal(proposal)) = proof.leaf.and_then(|leaf| leaf.object) else {
        return Err(Failure::usage(format!("{name} is no proposal")));
    };
    let view = view::object(
        &Object::Proposal(proposal.clone()),
        &view::Lens::new(place.0.genesis.founding.network.utc_offset_minutes),
    );
    Ok(Found { name, proposal, view, set: proof.set, height })
}

fn show(desk: &Desk, proposal: &str) -> Result<Answer, Failure> {
    let found = find(desk, proposal)?;
    let action = &found.proposal.action;
    let members = Members::with(found.set.clone(), &desk.api()?)?;
    let changes_set = action == SET_ACTION;
    let next = if changes_set { governance::preview(&found.proposal.action_body, &members.set) } else { None };
    let impact = next.map(|next| Impact::of(&members, &next));
    let passed = found.proposal.passed;
    let needed = if passed { 0 } else { members.set.quorum().saturating_sub(found.proposal.votes_for.len()) };
    let data = json!({
        "proposal_id": found.name, "kind": action, "status": if passed { "passed" } else { "open" },
        "votes_for": found.proposal.votes_for, "votes_against": found.proposal.votes_against, "needed": needed,
        "activates_at": found.view["from_time"], "action_body": found.view["action_body"],
        "impact": impact.as_ref().map(Impact::json), "proven": true, "proven_height": found.height,
    });
    let votes = Votes {
        yes: found.proposal.votes_for.len(),
        no: found.proposal.votes_against.len(),
        quorum: members.set.quorum(),
    };
    let state = standing(desk, passed, &votes, (found.proposal.from_time, &simulate::value(&found.view["from_time"])));
    let impact = impact.map_or(String::new(), |impact| format!("\n{}", impact.words(desk.language)));
    Ok(Answer::done(data, format!("{}\n{}{impact}", words(desk, &found), indented(&state, 2))))
}

fn indented(lines: &str, indent: usize) -> String {
    lines.lines().map(|line| wrap(line, indent)).collect::<Vec<_>>().join("\n")
}

/// The votes of a proposal, and how many must say yes.
struct Votes {
    yes: usize,
    no: usize,
    quorum: usize,
}

/// Where a proposal stands, for people: what was agreed is not in force before its time, and what is open is not agreed.
fn standing(desk: &Desk, passed: bool, votes: &Votes, (from_ms, from): (u64, &str)) -> String {
    let is_over = from_ms <= now_ms();
    let state = match (passed, is_over) {
        (true, true) => desk.pick("已通过,生效时间已到", "passed, due since"),
        (true, false) => desk.pick("已通过,尚未生效,生效时间", "passed, not yet in force, takes effect"),
        (false, true) => desk.pick("未通过,提议的生效时间已过", "did not pass, was to take effect"),
        (false, false) => desk.pick("待表决,若通过则生效于", "open, if it passes takes effect"),
    };
    let Votes { yes, no, quorum } = votes;
    let counted = match desk.language {
        Language::Chinese => format!("赞成 {yes} 票(须 {quorum} 票),反对 {no} 票"),
        Language::English => format!("{yes} of {quorum} votes that it needs, {no} against"),
    };
    format!("{state} {from}\n{counted}")
}

fn list(desk: &Desk) -> Result<Answer, Failure> {
    let api = desk.api()?;
    let data = api.get_json("/proposals")?;
    let items = data.get("items").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let text = |item: &serde_json::Value, path: &str| {
        item.pointer(path).map_or(String::new(), |value| value.as_str().map_or(value.to_string(), str::to_owned))
    };
    let quorum = Members::of(desk.network()?, &api)?.set.quorum();
    let count = |item: &serde_json::Value, path: &str| {
        item.pointer(path).and_then(serde_json::Value::as_array).map_or(0, Vec::len)
    };
    let line = |item: &serde_json::Value| {
        let votes = Votes {
            yes: count(item, "/object/object/votes_for"),
            no: count(item, "/object/object/votes_against"),
            quorum,
        };
        let passed = item.pointer("/object/object/passed").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let from = text(item, "/object/object/from_time");
        let from_ms = from.parse::<jiff::Timestamp>().ok().and_then(|from| u64::try_from(from.as_millisecond()).ok());
        let state = standing(desk, passed, &votes, (from_ms.unwrap_or(u64::MAX), &from));
        format!("{}  {}\n{}", text(item, "/id"), text(item, "/object/object/action"), indented(&state, 4))
    };
    let lines: Vec<String> = items.iter().map(line).collect();
    Ok(as_claim(desk, &api, Answer::done(data, lines.join("\n"))))
}

fn weigh(desk: &Desk, content: &Content) -> Result<Answer, Failure> {
    let members = Members::of(desk.network()?, &desk.api()?)?;
    let empty = content.body.is_none()
        && content.seats.is_empty()
        && content.remove.is_empty()
        && content.parameters.is_empty();
    let next = match empty {
        true => members.set.clone(),
        false => governance::preview(&encoded(desk, SET_ACTION, content)?, &members.set)
            .ok_or_else(|| Failure::usage("the change does not fit the present set"))?,
    };
    let impact = Impact::of(&members, &next);
    Ok(Answer::done(impact.json(), impact.words(desk.language)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_is_another_record_only_if_it_says_something_else() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let says = |yes| Value::text_map([("proposal", Value::text("approval/SET-1")), ("yes", Value::Bool(yes))]);
        let id = once("vote", &says(true), &key);
        assert_eq!(id, once("vote", &says(true), &key));
        let others = [
            once("vote", &says(false), &key),
            once("vote", &says(true), &other),
            once("node_ready", &says(true), &key),
        ];
        assert!(!others.contains(&id));
    }
}
