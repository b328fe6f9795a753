//! `query events`: final records in the order of the log, as nodes tell of them. It goes on at another node from where the
//! last one was left, so that no record is lost or told twice. What a node says is its word; `receipt` proves a record.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mingzhang_ledger::records::record_type;
use serde_json::{Value, json};

use super::{LINE_COLUMNS, for_people, qualified};
use crate::command::Desk;
use crate::interrupt;
use crate::node_api::NodeApi;
use crate::output::{Answer, Failure, Language, exit, wrap};

/// Before the first record of the log.
const BEGINNING: &str = "0-0";
/// Most events of one answer.
const PAGE: u64 = 200;
/// How long a node may wait for the next event.
const WAIT: Duration = Duration::from_secs(20);
/// What is left of the time for one answer when the node has waited.
const MARGIN: Duration = Duration::from_secs(5);
/// Pauses while no node answers, and how often one is asked again by who does not follow.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
const TRIES: usize = 6;
/// The digits of a number in an id.
const DIGITS: usize = 16;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only records of these types, separated by commas
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Only what joins the trail of this programme, account or case, or this very record: agency/id
    #[arg(long, value_name = "AGENCY/ID")]
    subject: Option<String>,
    /// Only what comes after this event; 0-0 for all. If not given: from now on, with --no-follow all
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End at the newest record instead of waiting for the next
    #[arg(long)]
    no_follow: bool,
}

/// How far it came: printed with the answer, also when it is interrupted.
#[derive(Debug, Default)]
struct Told {
    last_id: String,
    events: u64,
}

impl Told {
    fn data(&self) -> Value {
        json!({ "last_id": self.last_id, "events": self.events, "proven": false })
    }

    /// For people, on stderr.
    fn words(&self, language: Language) -> String {
        let (last, events) = (&self.last_id, self.events);
        match language {
            Language::Chinese => format!("共 {events} 条;以 --after {last} 由此继续"),
            Language::English => format!("events: {events}; --after {last} goes on from there"),
        }
    }
}

pub fn run(desk: &Desk, args: &Args) -> Result<Answer, Failure> {
    let query = query(desk, args)?;
    let after = args.after.as_deref().map(short).transpose()?;
    let after = after.or_else(|| args.no_follow.then(|| BEGINNING.to_owned()));
    let told = Arc::new(Mutex::new(Told { last_id: after.clone().unwrap_or_default(), events: 0 }));
    let api = desk.api()?;
    let mut following = Following { desk, api, args, query, after, told: Arc::clone(&told), passed_gaps: 0 };
    // Where no node answers at first, there is nothing to go on from.
    let first = following.ask(Duration::ZERO)?;
    desk.printer.note(&wrap(warning(desk.language), 0));
    let (known, language) = (Arc::clone(&told), desk.language);
    interrupt::watch_stream(desk.printer, move || {
        known.try_lock().ok().map(|told| (told.data(), told.words(language)))
    });
    match following.follow(&first) {
        Ok(()) => {}
        // Whoever read them has what it wanted.
        Err(End::Unread(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(End::Unread(error)) => return Err(error.into()),
        Err(End::Failed(failure)) => return Err(following.broken(failure)),
    }
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let mut answer = Answer::done(told.data(), "");
    if desk.printer.json {
        answer.warnings.push(warning(desk.language).to_owned());
    } else {
        desk.printer.note(&told.words(desk.language));
    }
    Ok(answer)
}

fn warning(language: Language) -> &'static str {
    language.pick(
        "以下为节点所述,未经核验(proven: false);每条可用 mingzhang receipt get 交易编号 取得证明",
        "said by nodes, not proven (proven: false); `mingzhang receipt get TX` proves one",
    )
}

/// What is asked of every node.
fn query(desk: &Desk, args: &Args) -> Result<String, Failure> {
    let mut query = String::new();
    if let Some(unknown) = args.types.iter().find(|name| record_type(name).is_none()) {
        return Err(Failure::usage(format!("{unknown:?} is no record type: `record --list` names them")));
    }
    if !args.types.is_empty() {
        query.push_str(&format!("&types={}", args.types.join(",")));
    }
    if let Some(subject) = &args.subject {
        query.push_str(&format!("&subject={}", qualified(desk, subject)?));
    }
    Ok(query)
}

/// Height and index of an id, whose zeros in front may lack.
fn numbers(id: &str) -> Option<(u64, u64)> {
    let number = |digits: &str| {
        let is_number = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    let (height, index) = id.split_once('-')?;
    Some((number(height)?, number(index)?)).filter(|(height, index)| height <= index)
}

/// An id as people write it.
fn short(id: &str) -> Result<String, Failure> {
    let (height, index) =
        numbers(id).ok_or_else(|| Failure::usage(format!("{id:?} is no event's id: height-index is wanted")))?;
    Ok(format!("{height}-{index}"))
}

/// Why it ends early.
enum End {
    Failed(Failure),
    /// stdout takes no more.
    Unread(io::Error),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Following<'a> {
    desk: &'a Desk,
    api: NodeApi,
    args: &'a Args,
    query: String,
    /// Where it stands; not known before a node said where its log ends.
    after: Option<String>,
    told: Arc<Mutex<Told>>,
    /// Nodes, one after the other, that do not have what comes next.
    passed_gaps: usize,
}

impl Following<'_> {
    /// Until the end that was asked for.
    fn follow(&mut self, first: &Value) -> Result<(), End> {
        let mut more = self.take(first)?;
        while self.left() > 0 && (more || !self.args.no_follow) {
            let wait = if self.args.no_follow { Duration::ZERO } else { self.patience() };
            let asked = Instant::now();
            let answer = self.ask_until_told(wait)?;
            more = self.take(&answer)?;
            let is_empty = answer["items"].as_array().is_none_or(Vec::is_empty);
            // Also where a node does not wait as it was asked to.
            if is_empty && !more && !self.args.no_follow && asked.elapsed() < FIRST_PAUSE {
                sleep(FIRST_PAUSE);
            }
        }
        Ok(())
    }

    /// How long a node may wait, so that its answer still comes in time.
    fn patience(&self) -> Duration {
        self.desk.timeout.saturating_sub(MARGIN).min(WAIT)
    }

    /// Events that are wanted yet.
    fn left(&self) -> u64 {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).events;
        self.args.limit.map_or(u64::MAX, |limit| limit.saturating_sub(told))
    }

    fn ask(&self, wait: Duration) -> Result<Value, Failure> {
        let after = self.after.as_ref().map(|after| format!("&after={after}")).unwrap_or_default();
        let (wait_s, limit) = (wait.as_secs(), self.left().min(PAGE));
        let answer = self.api.get_json(&format!("/events/poll?wait={wait_s}&limit={limit}{after}{}", self.query))?;
        self.require_order(&answer)?;
        Ok(answer)
    }

    /// As [`Self::ask`]; where no node answers it is asked again, and again, by whoever follows without end.
    fn ask_until_told(&self, wait: Duration) -> Result<Value, Failure> {
        let (mut pause, mut tries) = (FIRST_PAUSE, 1);
        loop {
            let failure = match self.ask(wait) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let passes = matches!(failure.exit, exit::UNREACHABLE | exit::BUG);
            if !passes || (self.args.no_follow && tries >= TRIES) {
                return Err(failure);
            }
            if tries == 1 {
                let words = self.desk.pick("暂无节点应答,继续尝试", "no node tells more, trying again");
                self.desk.printer.note(&wrap(&format!("{words}: {}", self.desk.language.detail(&failure.detail)), 0));
            }
            self.api.pass_over();
            sleep(pause);
            (pause, tries) = (pause.saturating_mul(2).min(LONGEST_PAUSE), tries + 1);
        }
    }

    /// A node that tells the same twice, or goes back, is not followed.
    fn require_order(&self, answer: &Value) -> Result<(), Failure> {
        let items = answer.get("items").and_then(Value::as_array);
        let mut last = self.after.as_deref().and_then(numbers);
        let end = answer.get("next_cursor").and_then(Value::as_str).and_then(numbers);
        let ids = items.into_iter().flatten().map(|event| event.get("id").and_then(Value::as_str).and_then(numbers));
        let mut is_sound = items.is_some() && end.is_some() && last <= end;
        for id in ids {
            is_sound = is_sound && id.is_some() && id > last && id <= end;
            last = id;
        }
        match is_sound {
            true => Ok(()),
            false => {
                let node = self.api.answered();
                Err(Failure::unreachable(format!("{node} tells events that are not in order")))
            }
        }
    }

    /// Prints what an answer holds and goes on behind it. Whether there is more at once.
    fn take(&mut self, answer: &Value) -> Result<bool, End> {
        let others = self.api.nodes().len().saturating_sub(1);
        let gap = answer.get("gap").filter(|gap| gap.is_object());
        if let Some(gap) = gap {
            // Another node may still have it.
            if self.passed_gaps < others {
                self.passed_gaps += 1;
                self.api.pass_over();
                return Ok(true);
            }
            self.print(gap, &self.gap_words(gap), false)?;
        }
        self.passed_gaps = 0;
        for event in answer.get("items").and_then(Value::as_array).into_iter().flatten() {
            self.print(event, &self.line(event), true)?;
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let next = short(text("next_cursor").unwrap_or_default())?;
        let is_behind =
            answer.pointer("/as_of/height").and_then(Value::as_u64) < numbers(&next).map(|(height, _)| height);
        if is_behind && others > 0 {
            // It has less than another one told already.
            self.api.pass_over();
            sleep(FIRST_PAUSE);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last_id.is_empty() {
            told.last_id.clone_from(&next);
        }
        // More that is nowhere further on is none.
        let goes_on = self.after.as_ref() != Some(&next);
        self.after = Some(next);
        Ok(goes_on && answer.get("more") == Some(&Value::Bool(true)))
    }

    /// One line on stdout, and that it was printed.
    fn print(&self, event: &Value, line: &str, counts: bool) -> Result<(), End> {
        // Held meanwhile: who interrupts is told of what was printed, no more and no less.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut event = event.clone();
        event["proven"] = Value::Bool(false);
        self.desk.printer.line(&event, line).map_err(End::Unread)?;
        let place = event.get("id").or(event.get("until")).and_then(Value::as_str).map(short);
        if let Some(id) = place.transpose()? {
            told.last_id = id;
        }
        told.events = told.events.saturating_add(u64::from(counts));
        Ok(())
    }

    /// When, what became of which record, and the id to go on from; a long name is cut in the middle.
    fn line(&self, event: &Value) -> String {
        let offset = self.desk.network().map_or(0, |network| network.genesis.founding.network.utc_offset_minutes);
        let shown = for_people(event, offset, self.desk.language);
        let text = |name: &str| shown.get(name).and_then(Value::as_str).unwrap_or_default();
        let time = text("time");
        let time = [time.get(..10), time.get(11..16)].map(Option::unwrap_or_default).join(" ");
        let outcome = match text("outcome") {
            "applied" => self.desk.pick("已记录", "applied ").to_owned(),
            _ => format!("{} {}", self.desk.pick("已驳回", "REJECTED"), text("code")),
        };
        let id = short(text("id")).unwrap_or_default();
        let head = format!("{time} {outcome} ");
        let columns: usize = head.chars().map(|character| if character.is_ascii() { 1 } else { 2 }).sum();
        let room = LINE_COLUMNS.saturating_sub(columns + id.len() + 1);
        let name = fit(&format!("{} {}", text("record_type"), text("record")), room);
        format!("{head}{name} {id}")
    }

    fn gap_words(&self, gap: &Value) -> String {
        let text = |name: &str| gap.get(name).and_then(Value::as_str).and_then(|id| short(id).ok()).unwrap_or_default();
        let (after, until) = (text("after"), text("until"));
        match self.desk.language {
            Language::Chinese => format!("缺 {after} 之后至 {until} 的记录:各节点均已不再保留"),
            Language::English => format!("GAP after {after} until {until}: no node keeps these records"),
        }
    }

    /// A failure on the way, with how far it came.
    fn broken(&self, mut failure: Failure) -> Failure {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        failure.data = told.data();
        if !self.desk.printer.json {
            self.desk.printer.note(&told.words(self.desk.language));
        }
        failure
    }
}

/// Text in at most so many columns, its middle left out.
fn fit(text: &str, columns: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= columns {
        return text.to_owned();
    }
    let left = columns.saturating_sub(1);
    let (head, tail) = (left / 2, left.saturating_sub(left / 2));
    let end = chars.iter().skip(chars.len().saturating_sub(tail));
    chars.iter().take(head).chain(&['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_full_and_in_short() {
        assert_eq!(numbers("0000000000000012-0000000000000345"), Some((12, 345)));
        assert_eq!(short("0000000000000012-0000000000000345").expect("an id"), "12-345");
        assert_eq!(short("0-0").expect("an id"), BEGINNING);
        for text in ["", "5", "5-4", "1-2-3", "+1-2", "a-b", "1-00000000000000002"] {
            assert_eq!(short(text).expect_err(text).exit, exit::USAGE, "{text}");
        }
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(fit("payment_request civil/PAY-1", 40), "payment_request civil/PAY-1");
        assert_eq!(fit("0123456789", 5), "01…89");
    }
}
