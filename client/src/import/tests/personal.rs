//! What identifies people stays off the ledger: neither names nor numbers, nor hashes of them that anyone can try.

use mingzhang_ledger::crypto::sha256;

use super::*;

/// The bodies of everything that reached the log, and how many records were applied.
fn logged(format: Format, name: &str, text: &str) -> (Vec<String>, usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let source = read(format, &path, (&Map::default(), true)).expect("the file is read");
    let mut ledger = MemoryLedger::found();
    let outcome = import(&mut ledger, format, true, &source).expect("the import runs");
    let sources = [source];
    let applied = make(&outcome, &sources).counters.applied;
    let texts = ledger.log.values().map(|(transaction, _)| String::from_utf8_lossy(transaction.bytes()).into_owned());
    (texts.collect(), usize::try_from(applied).expect("few"))
}

fn holds_none(texts: &[String], words: &[&str]) {
    for word in words {
        let digest: String = hex::encode(sha256(&[word.as_bytes()])).chars().take(32).collect();
        for text in texts {
            assert!(!text.contains(word) && !text.contains(&digest), "{word} in {text}");
        }
    }
}

#[test]
fn a_recipient_without_an_id_is_a_pseudonym() {
    let text = r#"{"grants":[
        {"id":"G1","title":"t","currency":"CNY","amountAwarded":5,"amountDisbursed":5,"awardDate":"2015-01-01",
         "recipientOrganization":[{"name":"Zhang San Family Shop 13800138000"}]},
        {"id":"G2","title":"t","currency":"CNY","amountAwarded":6,"amountDisbursed":6,"awardDate":"2015-01-01",
         "recipientOrganization":[{"name":"张三小吃店"}]},
        {"id":"G3","title":"t","currency":"CNY","amountAwarded":7,"amountDisbursed":7,"awardDate":"2015-01-01",
         "recipientOrganization":[{"id":"13800138000"}]},
        {"id":"G4","title":"t","currency":"CNY","amountAwarded":8,"amountDisbursed":8,"awardDate":"2015-01-01",
         "recipientOrganization":[{"id":"张三"}]},
        {"id":"G5","title":"t","currency":"CNY","amountAwarded":9,"awardDate":"2015-01-01",
         "recipientOrganization":[{"id":"GB-CHC-1136419","name":"A Charity"}]}]}"#;
    let (texts, applied) = logged(Format::Grants, "grants.json", text);
    assert_eq!(applied, 9);
    holds_none(
        &texts,
        &["Zhang San Family Shop 13800138000", "Zhang San", "13800138000", "张三小吃店", "张三", "A Charity"],
    );
    assert!(texts.iter().any(|text| text.contains("GB-CHC-1136419")), "an id is no name");
}

#[test]
fn references_hold_no_names_and_no_numbers_of_people() {
    let text = "id,date,payee,amount,currency,bank_ref\n1,2020-01-01,A,5.00,CNY,张三退款\n\
                2,2020-01-02,A,-3.00,CNY,13800138000\n3,2020-01-02,A,2.00,CNY,TT-17\n";
    let (texts, applied) = logged(Format::Payments, "payments.csv", text);
    assert_eq!(applied, 3);
    holds_none(&texts, &["张三退款", "13800138000"]);
    assert!(texts.iter().any(|text| text.contains("TT-17")));
    let text = "id,date,donor,amount,currency\n李四,2020-01-01,A,5.00,CNY\n11010519491231002X,2020-01-01,B,5.00,CNY\n";
    let (texts, applied) = logged(Format::Donations, "gifts.csv", text);
    assert_eq!(applied, 2);
    holds_none(&texts, &["李四", "11010519491231002X"]);
    let text = "id,applied,issued,status\n李四,2020-01-01,2020-01-02,Issued\n";
    let (texts, applied) = logged(Format::Permits, "permits.csv", text);
    assert_eq!(applied, 1);
    holds_none(&texts, &["李四"]);
}

#[test]
fn free_text_is_no_purpose_and_no_channel() {
    let text = "id,date,payee,amount,currency,purpose\n1,2020-01-01,A,5.00,CNY,Refund to Zhang San\n\
                2,2020-01-01,B,5.00,CNY,works\n";
    let (texts, applied) = logged(Format::Payments, "payments.csv", text);
    assert_eq!(applied, 2);
    holds_none(&texts, &["Zhang San", "Refund to Zhang San"]);
    assert!(texts.iter().any(|text| text.contains("works")));
    let rows = super::bad_rows::told(Format::Payments, text, true).rows;
    let named = |line| rows[&line]["fields"].as_array().is_some_and(|list| list.iter().any(|name| name == "purpose"));
    assert!(named(2) && !named(3), "{rows:?}");
    let text = "id,date,donor,amount,currency,channel\n1,2020-01-01,A,5.00,CNY,Brought by Li Si\n";
    let (texts, applied) = logged(Format::Donations, "gifts.csv", text);
    assert_eq!(applied, 1);
    holds_none(&texts, &["Li Si", "Brought by Li Si"]);
    let row = &super::bad_rows::told(Format::Donations, text, true).rows[&2];
    assert_eq!((&row["flags"], &row["fields"]), (&serde_json::json!(["MZ-3707"]), &serde_json::json!(["channel"])));
}

#[test]
fn the_digest_of_rows_cannot_be_tried_for_a_name() {
    let text = "id,date,payee,amount,currency\n1,2020-01-01,Zhang San,5.00,CNY\n";
    let values = [("amount", "5.00"), ("currency", "CNY"), ("date", "2020-01-01"), ("id", "1"), ("payee", "Zhang San")];
    let row = super::super::row::digest(values.into_iter());
    let plain = [row, sha256(&[&row]), sha256(&[&sha256(&[&row])])];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("payments.csv");
    std::fs::write(&path, text).expect("a file");
    let source = read(Format::Payments, &path, (&Map::default(), true)).expect("the file is read");
    assert_eq!(source.claims[0].digest, row, "this is how a row is digested");
    let mut ledger = MemoryLedger::found();
    import(&mut ledger, Format::Payments, true, &source).expect("the import runs");
    for (transaction, _) in ledger.log.values() {
        let holds = |digest: &Hash| transaction.bytes().windows(32).any(|bytes| bytes == digest);
        assert!(!plain.iter().any(holds), "{}", transaction.payload().record_type);
    }
}

#[test]
fn a_grants_digest_covers_who_is_paid() {
    let digest = |recipient: &str| {
        let text = format!(
            r#"[{{"id":"G","currency":"GBP","amountAwarded":5,"amountDisbursed":5,"awardDate":"2015-01-01",{recipient}}}]"#
        );
        let reading = super::super::row::Reading { name: "grants", map: &Map::default(), strict: true };
        super::super::grants::read(text.as_bytes(), &reading).expect("a grant")[0].digest
    };
    let digests = [
        r#""recipientOrganization":[{"id":"GB-1"}]"#,
        r#""recipientOrganization":[{"id":"GB-2"}]"#,
        r#""recipientOrganization":[{"name":"Zhang San"}]"#,
        r#""recipientOrganization":[{"name":"Li Si"}]"#,
        r#""recipientIndividual":[{"id":"P-1"}]"#,
        r#""title":"none""#,
    ]
    .map(digest);
    assert_eq!(std::collections::BTreeSet::from(digests).len(), 6);
}
