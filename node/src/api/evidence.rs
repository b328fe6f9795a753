//! Proof of rules that members of the authority set broke, for whoever wants to check it. What follows from it is the
//! agencies' matter.

use axum::Json;
use axum::extract::{Query, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mingzhang_consensus::evidence::Evidence;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, as_of, hash_text, read};
use super::{MAX_LIST_ITEMS, Node};

/// Bytes of proofs, at most one proof more, in one answer.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Deserialize)]
pub struct Page {
    /// How many to pass over.
    cursor: Option<usize>,
    limit: Option<usize>,
}

/// By epoch, member and rule; of each the first proof that this node saw.
pub async fn list(State(node): State<Node>, Query(page): Query<Page>) -> Answer {
    read(&node, move |node, view| {
        let limit = page.limit.unwrap_or(20).clamp(1, MAX_LIST_ITEMS);
        let offences = node.store.offences();
        let (start, mut bytes) = (page.cursor.unwrap_or(0), 0);
        let mut items = Vec::new();
        for (offence, accused) in offences.iter().skip(start) {
            if items.len() >= limit || bytes >= PAGE_BYTES {
                break;
            }
            let evidence = node.store.evidence(offence)?.unwrap_or_default();
            bytes = bytes.saturating_add(evidence.len());
            let set_hash = view.stored_epoch(offence.epoch)?.map(|stored| hash_text(&stored.set.hash()));
            items.push(json!({
                "agency_id": accused.agency, "seat": offence.accused, "epoch": offence.epoch, "set_hash": set_hash,
                "consensus_key": hex::encode(accused.consensus_key.0), "turn": Evidence::turn_of(&evidence),
                "rule": format!("E{}", offence.rule), "evidence": STANDARD.encode(&evidence),
            }));
        }
        let next = start.saturating_add(items.len());
        let next = (next < offences.len()).then_some(next);
        Ok(Json(json!({ "items": items, "next_cursor": next, "as_of": as_of(view) })))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mingzhang_consensus::evidence::SignedBatch;
    use mingzhang_consensus::{Epoch, Opening};
    use mingzhang_ledger::entry;
    use serde_json::Value;

    use super::*;
    use crate::node::{Start, start};
    use crate::ops;
    use crate::signer::Seat;
    use crate::testing::{AGENCIES, KeyOf, config, free_ports, genesis, key, keys, seeds};

    async fn page(node: &Node, cursor: Option<usize>, limit: Option<usize>) -> Value {
        let answer = list(State(Node::clone(node)), Query(Page { cursor, limit })).await;
        answer.unwrap_or_else(|_| panic!("the node answers")).0
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_asks_gets_the_first_proof_of_each_fault_and_can_check_it() {
        let (genesis, ports) = (genesis(), free_ports(AGENCIES.len()));
        let opening = Opening::Genesis { block: entry::genesis_id(&genesis.hash) };
        let epoch = Epoch { chain: genesis.hash, set: Arc::new(genesis.set.clone()), opening };
        let (folder, seeds) = (tempfile::tempdir().expect("a folder"), seeds(&genesis, &ports));
        let config = config(AGENCIES[0], folder.path(), ports[0]);
        let start_with = Start { config, genesis, seeds, keys: keys(0), lost_at_ms: None, clock_offset_ms: 0 };
        let node = start(start_with).await.expect("starts");
        let handle = Arc::clone(node.handle());
        assert_eq!(page(&handle, None, None).await["items"], json!([]));
        let twice = |member: usize, run| {
            let seat = Seat::find(&epoch, &key(member, KeyOf::Consensus)).expect("a seat");
            let signed = |byte| SignedBatch::from(&seat.sign_batch(run, 0, vec![byte; 9]));
            Evidence::TwoBatches { first: signed(1), second: signed(2) }
        };
        for (member, run, news) in [(1, 1, true), (1, 2, false), (2, 1, true)] {
            assert_eq!(handle.store.put_evidence(&twice(member, run), &epoch).expect("the store works"), news);
        }
        let first = page(&handle, None, Some(1)).await;
        let item = &first["items"][0];
        assert_eq!((&item["agency_id"], &item["seat"], &item["rule"]), (&json!("civil"), &json!(1), &json!("E7")));
        assert_eq!((&first["next_cursor"], &item["turn"]), (&json!(1), &Value::Null));
        let bytes = STANDARD.decode(item["evidence"].as_str().expect("base64")).expect("base64");
        let evidence = Evidence::decode(&bytes, &epoch).expect("well formed");
        assert_eq!((evidence.check(&epoch), evidence), (Ok(()), twice(1, 1)));
        let last = page(&handle, Some(1), None).await;
        assert_eq!((&last["items"][0]["agency_id"], &last["next_cursor"]), (&json!("audit"), &Value::Null));
        let alarms = handle.status().alarms;
        assert!(alarms.iter().any(|alarm| alarm.contains("civil (seat 1) broke rule E7")), "{alarms:?}");
        assert!(ops::text(&handle).contains("\nmingzhang_evidence 2\n"));
        drop(handle);
        node.stop().await.expect("stops");
    }
}
