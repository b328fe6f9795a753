//! Questions of one node to another and their answers: fixed inputs, and the bytes that were decided once. Written anew
//! only by MINGZHANG_WRITE_VECTORS=1, which is a decision.

use std::collections::BTreeMap;
use std::path::Path;

use mingzhang_ledger::batch::{Batch, LanePosition, Reference, batches_preimage};
use mingzhang_ledger::certificate::{FinalCert, Signers};
use mingzhang_ledger::crypto::Signature;
use mingzhang_ledger::header::Header;
use mingzhang_node::executor::LoggedBlock;
use mingzhang_node::sync::wire::{
    Proof, Question, Segment, decode_batches, decode_block, encode_batches, encode_block,
};

const MEMBERS: usize = 4;

fn header(height: u64, entry_count: u32) -> Header {
    Header {
        height,
        epoch: 3,
        turn: 9_000,
        parent_turn: 8_998,
        proposer: 2,
        time_ms: 1_780_272_000_123,
        first_index: 181,
        entry_count,
        log_root: [1; 32],
        state_root: [2; 32],
        parent: [3; 32],
        batches: [4; 32],
        set_hash: [5; 32],
        next_set_hash: [6; 32],
        state_size: 977,
    }
}

fn reference() -> Reference {
    Reference { author: 1, run: 2, seq: 5, records: 1, bytes: 9, hash: [7; 32] }
}

fn questions() -> [(&'static str, Question); 7] {
    [
        ("question.segment", Question::Segment { after: 18_203, epoch: 3 }),
        ("question.block", Question::Block { id: [8; 32] }),
        ("question.batches", Question::Batches { epoch: 3, references: vec![reference()] }),
        ("question.manifest", Question::Manifest),
        ("question.leaf_hashes", Question::LeafHashes { height: 18_204, part: 1 }),
        ("question.leaves", Question::Leaves { height: 18_204, from: [9; 32] }),
        ("question.note", Question::Note { above: 18_204 }),
    ]
}

fn segments() -> [(&'static str, Segment); 2] {
    let positions = vec![LanePosition { run: 2, next_seq: 6 }; MEMBERS];
    let blocks = vec![
        LoggedBlock { header: header(18_204, 2), entries: vec![vec![1, 2], vec![3]], preimage: None },
        LoggedBlock { header: header(18_205, 0), entries: Vec::new(), preimage: Some((positions, vec![reference()])) },
    ];
    let signers = Signers::new([0, 1, 3].map(|index: u8| (u16::from(index), Signature([index; 64]))));
    let certificate = FinalCert { epoch: 3, turn: 9_000, height: 18_206, block: [7; 32], signers };
    let segment = Segment { blocks, above: vec![header(18_206, 0)], proof: Proof::Certificate(certificate) };
    let ended = Segment { proof: Proof::Recovery(vec![8; 40]), ..segment.clone() };
    [("answer.segment", segment), ("answer.segment.recovery", ended)]
}

#[test]
fn questions_and_answers_have_the_bytes_that_were_decided() {
    let mut now = BTreeMap::new();
    for (name, question) in questions() {
        assert_eq!(Question::decode(&question.encode()), Ok(question.clone()), "{name}");
        now.insert(name.to_owned(), hex::encode(question.encode()));
    }
    for (name, segment) in segments() {
        assert_eq!(Segment::decode(&segment.encode(MEMBERS), MEMBERS), Ok(segment.clone()), "{name}");
        now.insert(name.to_owned(), hex::encode(segment.encode(MEMBERS)));
    }
    let preimage = batches_preimage(&[LanePosition { run: 2, next_seq: 6 }], &[reference()]);
    let block = encode_block(&header(18_204, 1), &preimage);
    assert_eq!(decode_block(&block), Ok((header(18_204, 1), preimage.as_slice())));
    now.insert("answer.block".to_owned(), hex::encode(block));
    let batch = Batch { epoch: 3, author: 1, run: 2, seq: 5, payload: vec![5; 9], signature: Signature([6; 64]) };
    let batches = encode_batches([&batch, &batch]);
    assert_eq!(decode_batches(&batches), Ok(vec![batch.clone(), batch]));
    now.insert("answer.batches".to_owned(), hex::encode(batches));

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/messages.json");
    if std::env::var_os("MINGZHANG_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&now).expect("JSON") + "\n";
        std::fs::write(&file, text).expect("the vectors are written");
    }
    let decided: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(&file).expect("tests/vectors/messages.json")).expect("JSON");
    assert_eq!(now, decided);
}
