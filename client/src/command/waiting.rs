//! What an approver is about to sign for: the waiting record from its own signed bytes, whose hash is the digest that the
//! approval names. What a node says in its own words is not shown here.

use mingzhang_ledger::codec::Value;
use mingzhang_ledger::crypto::{Hash, sha256};
use mingzhang_ledger::outcome::Code;
use mingzhang_ledger::records::body::Mentions;
use mingzhang_ledger::records::fund::shown::money_text;
use mingzhang_ledger::records::object::Ref;
use mingzhang_ledger::records::schema::{FieldKind, RecordType};
use mingzhang_ledger::records::view::{self, Lens};
use mingzhang_ledger::records::{body, record_type};
use mingzhang_ledger::transaction::Transaction;

use super::query::with_units;
use super::{Desk, simulate};
use crate::currency;
use crate::output::{Failure, wrap};

/// The bytes are not those that the digest names.
const ANOTHER: Code = Code(4102);

/// Shows the record that an `approve` or `reject` names, before it is signed. Other types name none. Returns what it is in
/// one line, with its amount.
pub fn show(desk: &Desk, kind: &RecordType, content: &Value) -> Result<Option<String>, Failure> {
    let (Some(waiting), Some(digest)) = (named(kind, content), body::find::<Hash>(content, "digest")) else {
        return Ok(None);
    };
    let transaction = match desk.api()?.get(&format!("/transactions/{}/raw", hex::encode(digest)))?.success() {
        Ok(reply) => checked(&reply.body, &digest, &waiting)?,
        Err(failure) => {
            let words = desk.pick("节点未给出待批准的记录,无法展示", "the node gives no bytes of the record to show");
            desk.printer.note(&wrap(&format!("{waiting}: {words}: {}", desk.language.detail(&failure.detail)), 0));
            return Ok(unseen(kind, content));
        }
    };
    let (line, words) = words(desk, &transaction, &waiting);
    desk.printer.note(&words);
    Ok(Some(line))
}

fn named(kind: &RecordType, content: &Value) -> Option<Ref> {
    let waits = kind.field("waiting").is_some_and(|field| field.kind == FieldKind::Waiting);
    body::find(content, "waiting").filter(|_| waits)
}

/// What the question says of a record that nobody has shown here.
pub fn unseen(kind: &RecordType, content: &Value) -> Option<String> {
    named(kind, content).map(|waiting| format!("{waiting}, its content was not shown here"))
}

/// The transaction, if its bytes hash to the digest and it is of that record.
fn checked(bytes: &[u8], digest: &Hash, waiting: &Ref) -> Result<Transaction, Failure> {
    if sha256(&[bytes]) != *digest {
        return Err(Failure::coded(ANOTHER, format!("the node's bytes do not hash to {}", hex::encode(digest))));
    }
    let transaction = Transaction::decode(bytes).map_err(|fault| Failure::coded(ANOTHER, fault.to_string()))?;
    let payload = transaction.payload();
    let found = Ref::new(&payload.agency, &payload.record_id);
    if found != *waiting {
        return Err(Failure::usage(format!("the digest is of {found}, --waiting names {waiting}; nothing was signed")));
    }
    Ok(transaction)
}

fn words(desk: &Desk, transaction: &Transaction, waiting: &Ref) -> (String, String) {
    let payload = transaction.payload();
    let place = desk.network().ok().zip(desk.api().ok());
    let currency = place.and_then(|(network, api)| {
        let proven = currency::proven((network, &api), &waiting.to_string(), desk.language);
        proven.ok().flatten()
    });
    let kind = record_type(&payload.record_type);
    let amount = kind.map_or(0, |kind| Mentions::of(kind, &payload.body).amount_minor);
    let head = format!("{} {waiting}", payload.record_type);
    let line = match (&currency, amount) {
        (Some(currency), 1..) => format!("{head}, {}", money_text(i128::from(amount), currency)),
        _ => head.clone(),
    };
    let lens = Lens { currency, ..Lens::new(0) };
    let shown = kind.map(|kind| with_units(&view::body(kind, &payload.body, &lens), desk.language));
    let mut lines = vec![head];
    for (name, value) in shown.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten() {
        lines.push(simulate::member(name, value));
    }
    (line, lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use mingzhang_ledger::crypto::SigningKey;
    use mingzhang_ledger::state::key::parse_id;
    use mingzhang_ledger::transaction::Payload;

    use super::*;

    #[test]
    fn only_the_bytes_that_the_digest_names_are_shown() {
        let id = parse_id("PAY-1").expect("an id");
        let payload = Payload {
            origin: "demo".into(),
            record_type: "document_anchor".into(),
            record_id: id,
            agency: "civil".into(),
            expires_at: 1,
            body: Value::text_map([("kind", Value::text("minutes"))]),
        };
        let transaction = Transaction::sign(&payload, &SigningKey::from_seed(&[7; 32])).expect("signs");
        let (bytes, digest) = (transaction.bytes(), transaction.id());
        let code = |bytes: &[u8], digest: &Hash, id: &str| {
            let waiting = Ref::new("civil", &parse_id(id).expect("an id"));
            checked(bytes, digest, &waiting).err().and_then(|failure| failure.code)
        };
        assert_eq!(code(bytes, &digest, "PAY-1"), None);
        assert_eq!(code(bytes, &[1; 32], "PAY-1"), Some(ANOTHER));
        assert_eq!(code(bytes, &digest, "PAY-2"), Some(Code(2012)), "the approver meant another record");
    }
}
