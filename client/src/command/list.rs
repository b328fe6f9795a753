//! `mingzhang list build`: a list of beneficiaries from a CSV file. Salts every line, and writes the body of
//! `list_publish` and, for each line, the body of the `payment_request` that pays it. Opens no socket: what is
//! published is the root alone; the lines stay with whoever made them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use mingzhang_ledger::crypto::Hash;
use mingzhang_ledger::merkle::{Nodes, inclusion_path, node_hash, subtree_root};
use mingzhang_ledger::records::fund::list_proof::ListProof;
use mingzhang_ledger::records::fund::shown::money_text;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use crate::keys::random;
use crate::output::{Answer, Failure, exponent_of, parse_decimal};

/// Most lines of one list.
const MAX_LINES: usize = 1_000_000;
const LIST_FILE: &str = "list.json";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Salts, root and proofs from a CSV file: recipient,payee_account,units,amount[,asset]
    Build {
        file: PathBuf,
        /// Currency of the amounts
        #[arg(long, value_name = "ISO4217")]
        currency: String,
        /// New folder for list.json and one file for each line
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
}

/// One row of the file.
#[derive(Debug, Deserialize)]
struct Row {
    /// Pseudonym, 32 hex digits.
    recipient: String,
    /// Commitment to the registered account, 64 hex digits.
    payee_account: String,
    units: u64,
    amount: String,
    #[serde(default)]
    asset: Option<String>,
}

/// A line as it will be proven, and what it is for.
struct Line {
    proof: ListProof,
    asset: Option<String>,
}

/// A list that can be published.
struct List {
    lines: Vec<Line>,
    root: Hash,
    total: u64,
    standard: u64,
}

pub fn run(desk: &Desk, args: Args) -> (String, Result<Answer, Failure>) {
    let Action::Build { file, currency, out } = args.action;
    ("list build".into(), build(desk, &file, &currency, &out))
}

fn build(desk: &Desk, file: &Path, currency: &str, out: &Path) -> Result<Answer, Failure> {
    let exponent =
        exponent_of(currency).ok_or_else(|| Failure::usage(format!("--currency {currency} is not a currency")))?;
    let text = std::fs::read(file).map_err(|error| Failure::unreadable(file, error))?;
    let lines = read(&text, exponent).map_err(|error| Failure::unreadable(file, error))?;
    let list = List::of(lines).map_err(|error| Failure::unreadable(file, error))?;
    write(&list, out)?;
    let data = json!({
        "file": out.join(LIST_FILE), "root": format!("sha256:{}", hex::encode(list.root)), "count": list.lines.len(),
        "total_minor": list.total.to_string(), "standard_minor": list.standard.to_string(), "currency": currency,
    });
    let text = format!(
        "{} {}  {} {}\n  root {}",
        list.lines.len(),
        desk.pick("行", "lines"),
        desk.pick("合计", "total"),
        money_text(list.total, currency),
        hex::encode(list.root)
    );
    Ok(Answer::done(data, text))
}

/// The rows as lines with fresh salts, in the order of the file.
fn read(text: &[u8], exponent: u32) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (index, row) in (0u64..).zip(csv::Reader::from_reader(text).deserialize::<Row>()) {
        if lines.len() >= MAX_LINES {
            return Err(format!("more than {MAX_LINES} lines"));
        }
        let number = index + 1;
        let row = row.map_err(|error| format!("row {number}: {error}"))?;
        lines.push(line(index, row, exponent).map_err(|error| format!("row {number}: {error}"))?);
    }
    Ok(lines)
}

fn line(index: u64, row: Row, exponent: u32) -> Result<Line, String> {
    let amount = parse_decimal(&row.amount, exponent)
        .ok_or_else(|| format!("{} is not an amount (digits, at most {exponent} decimals)", row.amount))?;
    let proof = ListProof {
        leaf_index: index,
        salt: random().map_err(|failure| failure.detail)?,
        recipient: fixed(&row.recipient)?,
        payee_account: fixed(&row.payee_account)?,
        units: row.units,
        amount,
        path: Vec::new(),
    };
    Ok(Line { proof, asset: row.asset.filter(|asset| !asset.is_empty()) })
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let bytes = hex::decode(text.strip_prefix("sha256:").unwrap_or(text)).ok();
    bytes.and_then(|bytes| <[u8; N]>::try_from(bytes).ok()).ok_or_else(|| format!("{text} is not {} hex digits", N * 2))
}

/// All complete subtrees of a list's tree, leaves first, so that a path costs no more than its length.
struct Levels(Vec<Vec<Hash>>);

impl Levels {
    fn of(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let pairs = below.as_chunks::<2>().0;
            let above = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
            levels.push(above);
        }
        Self(levels)
    }
}

impl Nodes for Levels {
    type Error = String;

    fn node(&self, level: u32, index: u64) -> Result<Hash, String> {
        let found = usize::try_from(level).ok().zip(usize::try_from(index).ok());
        let found = found.and_then(|(level, index)| self.0.get(level)?.get(index));
        found.copied().ok_or_else(|| format!("the list has no node {index} on level {level}"))
    }
}

impl List {
    /// Every line must be worth its units at one standard, as the ledger wants it (3217).
    fn of(mut lines: Vec<Line>) -> Result<Self, String> {
        let first = lines.first().ok_or("the list has no line")?;
        let standard = first.proof.amount.checked_div(first.proof.units).ok_or("row 1: units are 0")?;
        let mut total = 0u64;
        for (number, line) in (1..).zip(&lines) {
            let (units, amount) = (line.proof.units, line.proof.amount);
            if standard == 0 || units == 0 || units.checked_mul(standard) != Some(amount) {
                return Err(format!("row {number}: {units} units of {standard} (minor units) are not {amount}"));
            }
            total = total.checked_add(amount).ok_or("the total is out of range")?;
        }
        let levels = Levels::of(lines.iter().map(|line| line.proof.leaf(line.asset.as_deref())).collect());
        let count = u64::try_from(lines.len()).map_err(|error| error.to_string())?;
        for line in &mut lines {
            line.proof.path = inclusion_path(&levels, line.proof.leaf_index, count)?;
        }
        Ok(Self { root: subtree_root(&levels, 0, count)?, lines, total, standard })
    }

    /// The body of `list_publish`, without its programme, period and days.
    fn publication(&self) -> Value {
        json!({
            "root": hex::encode(self.root), "count": self.lines.len(), "total": minor(self.total),
            "standard_minor": minor(self.standard),
        })
    }
}

impl Line {
    /// The body of `payment_request`, without the account and the list.
    fn request(&self) -> Value {
        let proof = &self.proof;
        let mut body = json!({
            "amount": minor(proof.amount), "recipient": hex::encode(proof.recipient),
            "payee_account": hex::encode(proof.payee_account),
            "list_proof": {
                "leaf_index": proof.leaf_index, "salt": hex::encode(proof.salt),
                "recipient": hex::encode(proof.recipient), "payee_account": hex::encode(proof.payee_account),
                "units": proof.units, "amount": minor(proof.amount),
                "path": proof.path.iter().map(hex::encode).collect::<Vec<_>>(),
            },
        });
        if let (Some(asset), Some(members)) = (&self.asset, body.as_object_mut()) {
            members.insert("asset".to_owned(), json!(asset));
        }
        body
    }
}

fn minor(amount: u64) -> Value {
    json!({ "minor": amount.to_string() })
}

/// A list built twice has two roots, so nothing that exists is written over.
fn write(list: &List, out: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(out)?;
    write_new(&out.join(LIST_FILE), &list.publication())?;
    for line in &list.lines {
        write_new(&out.join(format!("{:04}.json", line.proof.leaf_index)), &line.request())?;
    }
    Ok(())
}

fn write_new(path: &Path, body: &Value) -> Result<(), Failure> {
    let mut file = std::fs::File::create_new(path)
        .map_err(|error| Failure::usage(format!("{}: {error}; nothing was overwritten", path.display())))?;
    Ok(writeln!(file, "{body:#}")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mingzhang_ledger::codec::Value as Canonical;
    use mingzhang_ledger::records::record_type;

    fn csv(rows: &[(u8, u64, &str)]) -> String {
        let rows = rows.iter().map(|(person, units, amount)| {
            format!("{},{},{units},{amount}\n", hex::encode([*person; 16]), hex::encode([*person; 32]))
        });
        format!("recipient,payee_account,units,amount\n{}", rows.collect::<String>())
    }

    fn list(rows: &[(u8, u64, &str)]) -> Result<List, String> {
        List::of(read(csv(rows).as_bytes(), 2)?)
    }

    #[test]
    fn every_line_proves_itself_and_reads_back_as_the_record_wants_it() {
        let list = list(&[(1, 1, "600.00"), (2, 2, "1200"), (3, 1, "600.00")]).expect("a list");
        assert_eq!((list.total, list.standard), (240_000, 60_000));
        let kind = record_type("payment_request").expect("a record type");
        let reading = crate::body::Reading { agency: "civil", exponent: None };
        for line in &list.lines {
            let mut body = line.request();
            body["from"] = json!("finance/C");
            body["entitlement"] = json!("town/L");
            let members = body.as_object().expect("an object");
            let read = crate::body::from_json(kind, members, &reading).expect("a body");
            let proof = read.get("list_proof").and_then(ListProof::from_value).expect("a proof");
            assert_eq!(proof.verify(None, 3, &list.root), Ok(()));
            assert_eq!(read.get("amount").and_then(Canonical::as_uint), Some(line.proof.amount));
        }
        assert_ne!(list.lines[0].proof.salt, list.lines[2].proof.salt);
    }

    #[test]
    fn rows_that_the_ledger_would_refuse_are_refused_here() {
        for (rows, said) in [
            (vec![], "no line"),
            (vec![(1, 1, "600.00"), (2, 1, "700.00")], "row 2: 1 units of 60000"),
            (vec![(1, 0, "600.00")], "units are 0"),
            (vec![(1, 1, "6e2")], "row 1: 6e2 is not an amount"),
        ] {
            let error = list(&rows).err().expect("refused");
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_list_is_never_built_over_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = list(&[(1, 1, "600.00")]).expect("a list");
        write(&list, folder.path()).expect("written");
        assert!(write(&list, folder.path()).is_err());
        let text = std::fs::read_to_string(folder.path().join("list.json")).expect("list.json");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&body["count"], &body["total"]["minor"]), (&json!(1), &json!("60000")));
    }
}
