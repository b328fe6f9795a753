//! `mingzhang record <record_type>`: one subcommand per record type, made from the record schema, so that command,
//! record and documentation cannot differ.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use mingzhang_ledger::codec::Value;
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::body::Mentions;
use mingzhang_ledger::records::fund::shown::money_text;
use mingzhang_ledger::records::schema::{Area, COMMON, Field, FieldKind, RecordType};
use mingzhang_ledger::records::{all, record_type};
use mingzhang_ledger::state::key::{id_text, parse_id};
use serde_json::{Map, json};

use super::Desk;
use crate::body;
use crate::currency::{self, Known};
use crate::keys::random;
use crate::output::{Answer, Failure, Language, exit, wrap};
use crate::salt::salted_digest;
use crate::submit::{self, DEFAULT_LIFE, Draft, MAX_LIFE};

/// Longest duration that is read: a century, far beyond every use and within what clocks can add.
const MAX_DURATION_S: u64 = 100 * 366 * 86_400;
/// Where `record --list` writes a type's fields.
const FIELDS_COLUMN: usize = 25;

/// The chosen record type and its flags; no type means `--list`.
#[derive(Debug, Clone)]
pub struct Args(Option<(String, ArgMatches)>);

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.subcommand().map(|(name, flags)| (name.to_owned(), flags.clone()))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let list = Arg::new("list").long("list").action(ArgAction::SetTrue).help("All record types by area");
        all().fold(command.arg(list), |command, kind| command.subcommand(subcommand(kind)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The fields that have a flag: a type's own, and of the common ones those that it does not state itself.
fn fields(kind: &'static RecordType) -> impl Iterator<Item = &'static Field> {
    let own = |name| kind.fields.iter().any(|field| field.name == name);
    kind.fields.iter().chain(COMMON.iter().filter(move |field| field.name != "evidence" && !own(field.name)))
}

fn subcommand(kind: &'static RecordType) -> Command {
    let about = format!("{} {}", english(kind), kind.zh);
    let command = Command::new(kind.name).about(about).args(fields(kind).map(|field| flag(kind, field)));
    let command = match kind.field("currency") {
        Some(_) => command,
        None => command.arg(
            Arg::new("currency")
                .long("currency")
                .value_name("ISO4217")
                .help("Currency of the amounts; if not given, the programme's, as a sealed state proves it"),
        ),
    };
    command.args([
        Arg::new("id").long("id").help("Record id: 1-16 of A-Za-z0-9._- or 32 hex digits; random if not given"),
        Arg::new("body").long("body").value_name("FILE|-").help("Body as JSON; flags override its members"),
        Arg::new("evidence")
            .long("evidence")
            .value_name("FILE")
            .action(ArgAction::Append)
            .help("Hashed here with a fresh salt, which is kept beside it as FILE.salt; never sent"),
        Arg::new("expires-in").long("expires-in").value_name("10m").help("How long the record may wait for the log"),
        Arg::new("signing-key").long("key").value_name("NAME|FILE").help("Officer key"),
        Arg::new("unsigned").long("unsigned").action(ArgAction::SetTrue).help("With --out: leave signing to `tx sign`"),
        Arg::new("out").long("out").value_name("FILE").help("Write the transaction and stop before sending"),
        Arg::new("wait").long("wait").value_name("30s").help("Wait for the definite answer"),
        Arg::new("dry-run")
            .long("dry-run")
            .value_name("server")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("here")
            .help("Check here, or with =server let a node say what would happen; nothing is submitted"),
    ])
}

/// A field's flag is its name, save where the command line needs that word for itself.
fn long(field: &Field) -> &'static str {
    match field.name {
        "effective_date" => "effective-date",
        "key" => "public-key",
        "yes" => "in-favour",
        name => name,
    }
}

/// A record type in English words.
fn english(kind: &RecordType) -> String {
    kind.name.replace('_', " ")
}

fn help(kind: &RecordType, field: &Field) -> &'static str {
    let names_waiting = kind.field("waiting").is_some_and(|field| field.kind == FieldKind::Waiting);
    match (field.kind, field.name, field.required) {
        (FieldKind::Waiting, _, _) => "required; the record that waits",
        (FieldKind::Hash, "digest", _) if names_waiting => {
            "required; the waiting record's transaction id, as `record …` prints it (tx_id); what it names is shown first"
        }
        (FieldKind::Hash, _, true) => "required; or @FILE: hashed here with a fresh salt, which is kept as FILE.salt",
        (FieldKind::Hash, _, false) => "optional; or @FILE: hashed here with a fresh salt, which is kept as FILE.salt",
        (FieldKind::Minor | FieldKind::Amount, _, true) => "required; as people write it: 500.00, not minor units",
        (FieldKind::Minor | FieldKind::Amount, _, false) => "optional; as people write it: 500.00, not minor units",
        (_, _, true) => "required",
        (_, _, false) => "optional",
    }
}

fn flag(kind: &'static RecordType, field: &'static Field) -> Arg {
    let many = matches!(field.kind, FieldKind::List(_));
    let arg = Arg::new(long(field)).long(long(field));
    // As they were written before; scripts may do so still.
    let arg = match long(field) {
        "public-key" => arg.alias("public_key"),
        "in-favour" => arg.alias("in_favour"),
        _ => arg,
    };
    arg.value_name(value_name(&field.kind))
        .action(if many { ArgAction::Append } else { ArgAction::Set })
        .help(help(kind, field))
}

fn value_name(kind: &FieldKind) -> &'static str {
    match kind {
        FieldKind::Id => "id",
        FieldKind::Ref(_) | FieldKind::Waiting => "agency/id",
        FieldKind::Hash => "sha256",
        FieldKind::Date => "YYYY-MM-DD",
        FieldKind::Time => "time",
        FieldKind::Minor | FieldKind::Amount => "decimal",
        FieldKind::Count => "number",
        FieldKind::Currency => "ISO4217",
        FieldKind::Code | FieldKind::Declared | FieldKind::OneOf(_) => "code",
        FieldKind::Text => "text",
        FieldKind::Person | FieldKind::Recipient => "pseudonym",
        FieldKind::Role => "role",
        FieldKind::Agency => "agency",
        FieldKind::Bytes(_) | FieldKind::PublicKey | FieldKind::Possession => "hex",
        FieldKind::Bool => "true|false",
        FieldKind::List(inner) => value_name(inner),
        FieldKind::Map(_) => "json",
    }
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    match args.0 {
        None => ("record".into(), Ok(list(desk))),
        Some((name, flags)) => {
            let result = record_type(&name)
                .ok_or_else(|| Failure::usage(format!("no record type {name}")))
                .and_then(|kind| one(desk, kind, &flags, flags.get_flag("unsigned")));
            (format!("record {name}"), result)
        }
    }
}

/// `tx build`: the record as a file that nobody has signed.
pub fn build(desk: &Desk, args: Args) -> Result<Answer, Failure> {
    let (name, flags) = args.0.ok_or_else(|| Failure::usage("tx build: which record type? see record --list"))?;
    let kind = record_type(&name).ok_or_else(|| Failure::usage(format!("no record type {name}")))?;
    one(desk, kind, &flags, true)
}

fn list(desk: &Desk) -> Answer {
    let rows: Vec<_> = all()
        .map(|kind| {
            let fields: Vec<_> = kind
                .fields
                .iter()
                .map(|field| json!({ "name": field.name, "kind": value_name(&field.kind), "required": field.required }))
                .collect();
            json!({ "record_type": kind.name, "zh": kind.zh, "en": english(kind), "area": format!("{:?}", kind.area).to_lowercase(), "fields": fields })
        })
        .collect();
    let mut areas: Vec<Area> = Vec::new();
    for kind in all() {
        if !areas.contains(&kind.area) {
            areas.push(kind.area);
        }
    }
    let mut text = String::new();
    for area in areas {
        text.push_str(&format!("{}\n", area_name(area, desk.language)));
        for kind in all().filter(|kind| kind.area == area) {
            let words = match desk.language {
                Language::Chinese => kind.zh.to_owned(),
                Language::English => needed(kind),
            };
            text.push_str(format!("  {:<22} {words}", kind.name).trim_end());
            text.push('\n');
        }
    }
    desk.printer
        .note(desk.pick("每种记录的字段: mingzhang record <类型> --help", "fields: mingzhang record TYPE --help"));
    Answer::done(json!({ "items": rows }), text)
}

/// The fields that a record must have: names are English already.
fn needed(kind: &RecordType) -> String {
    let names: Vec<&str> = kind.fields.iter().filter(|field| field.required).map(long).collect();
    wrap(&names.join(", "), FIELDS_COLUMN).trim_start().to_owned()
}

fn area_name(area: Area, language: Language) -> &'static str {
    match area {
        Area::Registry => language.pick("登记", "Registry: officers, roles, delegations"),
        Area::Governance => language.pick("治理", "Governance"),
        Area::Case => language.pick("审批", "Cases and licences"),
        Area::Fund => language.pick("资金", "Public money"),
        Area::Tender => language.pick("招标", "Tenders"),
        Area::Data => language.pick("数据", "Data sets"),
        Area::Exchange => language.pick("协同", "Exchanges between agencies"),
        Area::Everywhere => language.pick("通用", "Everywhere: approvals, documents, corrections, findings"),
        Area::Import => language.pick("历史导入", "Import of history"),
    }
}

fn one(desk: &Desk, kind: &'static RecordType, flags: &ArgMatches, unsigned: bool) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let key_name = flags.get_one::<String>("signing-key").map(String::as_str);
    let key = if unsigned { None } else { Some(desk.key(key_name)?) };
    // A key that says whose it is decides the agency; a flag still beats it.
    let agency = match (&network.context.agency, key.as_ref().and_then(|key| key.facts.agency.clone())) {
        (Some(agency), _) if network.sources.get("agency") == Some(&"flag") => agency.clone(),
        (_, Some(agency)) => agency,
        _ => network.agency()?.to_owned(),
    };
    let members = members(kind, flags)?;
    let known = Known {
        stated: flags.get_one::<String>("currency").map(String::as_str).filter(|_| kind.field("currency").is_none()),
        currencies: &network.genesis.document.currencies,
        common: network.common_exponent(),
        agency: &agency,
    };
    let prove = |name: &str| currency::proven((network, &desk.api()?), name, desk.language);
    let decimals = currency::decimals_of(kind, &members, &known, prove)?;
    let reading = body::Reading { agency: &agency, exponent: decimals.exponent };
    let mut content = body::from_json(kind, &members, &reading)?;
    tell_money(desk, kind, &content, decimals.currency.as_deref());
    add_evidence(&mut content, flags)?;
    // What is only written to a file is signed away from any node.
    let about = match flags.contains_id("out") {
        true => super::waiting::unseen(kind, &content),
        false => super::waiting::show(desk, kind, &content)?,
    };
    if let Some(key) = key.as_ref().filter(|_| !flags.contains_id("dry-run")) {
        desk.confirm((kind.name, &content), key, &agency, about)?;
    }
    let id = match flags.get_one::<String>("id") {
        Some(text) => parse_id(text).ok_or_else(|| Failure::usage(format!("--id {text}: 1-16 of A-Za-z0-9._-")))?,
        None => random()?,
    };
    let life = match flags.get_one::<String>("expires-in") {
        Some(text) => duration(text)?,
        None => DEFAULT_LIFE,
    };
    if life > MAX_LIFE {
        return Err(Failure::usage("--expires-in: at most 24h less a minute"));
    }
    let draft = Draft { kind, id, agency: &agency, body: content, life };
    finish(desk, &draft, key.map(|key| key.key), flags)
}

/// The amount in the currency that it is read in, before anything is signed.
fn tell_money(desk: &Desk, kind: &RecordType, content: &Value, currency: Option<&str>) {
    let amount = Mentions::of(kind, content).amount_minor;
    if let Some(currency) = currency.filter(|_| amount > 0) {
        let money = money_text(i128::from(amount), currency);
        desk.printer.note(&format!("{}: {money}", desk.pick("金额", "amount")));
    }
}

fn finish(
    desk: &Desk,
    draft: &Draft<'_>,
    key: Option<mingzhang_ledger::crypto::SigningKey>,
    flags: &ArgMatches,
) -> Result<Answer, Failure> {
    let network = desk.network()?;
    let origin = &network.genesis.origin;
    let out = flags.get_one::<String>("out").map(PathBuf::from);
    if out.is_some() && flags.contains_id("dry-run") {
        return Err(Failure::usage("--dry-run writes no file: give it or --out"));
    }
    let record_id = id_text(&draft.id);
    let Some(key) = key else {
        let out = out.ok_or_else(|| Failure::usage("--unsigned needs --out FILE"))?;
        let payload = draft.payload(origin);
        std::fs::write(&out, payload.encode()).map_err(|error| Failure::not_written(&out, error))?;
        let mut data = super::tx::described(&payload, None);
        (data["file"], data["signed"]) = (json!(out), json!(false));
        return Ok(Answer::done(data, out.display().to_string()));
    };
    // A node gets what it can only simulate.
    let transaction = match flags.get_one::<String>("dry-run").map(String::as_str) {
        Some("server") => draft.sign_expired(origin, &key)?,
        _ => draft.sign(origin, &key)?,
    };
    let tx_id = format!("sha256:{}", hex::encode(transaction.id()));
    if let Some(out) = &out {
        std::fs::write(out, transaction.bytes()).map_err(|error| Failure::not_written(out, error))?;
        let mut data = super::tx::described(transaction.payload(), Some(&transaction));
        data["file"] = json!(out);
        return Ok(Answer::done(data, tx_id));
    }
    if let Some(place) = flags.get_one::<String>("dry-run") {
        return super::simulate::dry_run(desk, &transaction, place);
    }
    let wait_s = match flags.get_one::<String>("wait") {
        Some(text) => duration(text)?.as_secs(),
        None => 0,
    };
    let result = submit::send(network, &desk.api()?, transaction, wait_s, desk.language);
    if flags.contains_id("id") { result } else { with_made_id(desk, &record_id, result) }
}

/// Tells the id that was made here: the command as it was typed would make another, and so a second record.
pub fn with_made_id(desk: &Desk, id: &str, result: Result<Answer, Failure>) -> Result<Answer, Failure> {
    let again = format!("an id was made; to run this again, add --id {id}");
    let told = desk.language.detail(&again);
    match result {
        Ok(mut answer) => {
            if let Some(members) = answer.data.as_object_mut() {
                members.insert("id_made".into(), json!(true));
            }
            if answer.exit == exit::NOT_YET_KNOWN && answer.data["status"] == "final" {
                answer.warnings.push(told);
            } else if answer.exit == exit::NOT_YET_KNOWN {
                let name = format!("{}/{id}", answer.data["agency_id"].as_str().unwrap_or_default());
                let (pending, wait) = (desk.pick("待确认", "pending"), desk.pick("或运行", "or run"));
                answer.text = format!("{}\n  {pending}  {name}", answer.text.lines().next().unwrap_or_default());
                answer.warnings.extend([told, format!("{wait}: mingzhang tx wait {name}")]);
            }
            Ok(answer)
        }
        Err(mut failure) => {
            if let Some(members) = failure.data.as_object_mut() {
                members.insert("id_made".into(), json!(true));
            }
            if matches!(failure.exit, exit::NOT_YET_KNOWN | exit::UNREACHABLE) {
                failure.detail = format!("{}; {again}", failure.detail);
            }
            Err(failure)
        }
    }
}

fn members(kind: &'static RecordType, flags: &ArgMatches) -> Result<Map<String, serde_json::Value>, Failure> {
    let mut members = match flags.get_one::<String>("body") {
        None => Map::new(),
        Some(source) => {
            let text = read_source(source)?;
            serde_json::from_str(&text).map_err(|error| Failure::usage(format!("--body {source}: {error}")))?
        }
    };
    for field in fields(kind) {
        if let Some(values) = flags.get_many::<String>(long(field)) {
            let texts = values.map(|text| of_file(&field.kind, text)).collect::<Result<Vec<_>, _>>()?;
            members.insert(field.name.to_owned(), body::flag_to_json(&field.kind, &texts)?);
        } else if field.required && long(field) != field.name && !members.contains_key(field.name) {
            let detail = format!("\"{}\" is missing: --{}", field.name, long(field));
            return Err(Failure::coded(Code(1004), detail));
        }
    }
    Ok(members)
}

/// A file's text, or stdin's for `-`.
pub fn read_source(source: &str) -> Result<String, Failure> {
    use std::io::Read as _;
    if source == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(source).map_err(|error| Failure::unreadable(Path::new(source), error))
}

/// A hash may be given by the file that it is of.
fn of_file(kind: &FieldKind, text: &str) -> Result<String, Failure> {
    match (kind, text.strip_prefix('@')) {
        (FieldKind::Hash, Some(file)) => salted_digest(Path::new(file)).map(hex::encode),
        _ => Ok(text.to_owned()),
    }
}

fn add_evidence(content: &mut Value, flags: &ArgMatches) -> Result<(), Failure> {
    let Some(files) = flags.get_many::<String>("evidence") else { return Ok(()) };
    let items = files
        .map(|file| {
            let digest = salted_digest(Path::new(file))?;
            Ok(Value::text_map([("hash", Value::bytes(&digest)), ("kind", Value::text("file"))]))
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    if let Value::Map(pairs) = content {
        let mut pairs = std::mem::take(pairs);
        pairs.push((Value::text("evidence"), Value::Array(items)));
        *content = Value::map(pairs);
    }
    Ok(())
}

/// `90s`, `10m`, `2h`, or plain seconds.
pub fn duration(text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("{text}: not a duration such as 30s, 10m or 2h"));
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3_600),
        _ => (Some(text), 1),
    };
    let number: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
    let seconds = number.checked_mul(factor).filter(|seconds| *seconds <= MAX_DURATION_S);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_duration_that_no_clock_can_add_is_none() {
        for (text, expected) in [
            ("90", Some(90)),
            ("10m", Some(600)),
            ("2h", Some(7_200)),
            ("9223372036854775807", None),
            ("18446744073709551615", None),
            ("5x", None),
        ] {
            assert_eq!(duration(text).ok().map(|duration| duration.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn no_field_has_the_flag_of_another_argument() {
        let mut command = super::super::Cli::command();
        command.build();
        let globals: Vec<_> = command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect();
        for kind in all() {
            for field in fields(kind) {
                assert!(!globals.iter().any(|global| global == long(field)), "{}: {}", kind.name, field.name);
            }
        }
    }
}
