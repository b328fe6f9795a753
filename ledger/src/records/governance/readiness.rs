//! An agency says that its node is ready for the next epoch: it follows the tip, and here is its next sealing key. A
//! sealing key lives one epoch, so each member hands in the next one before a boundary; when that comes is in `seats`.

use super::seats;
use super::set::{MAX_BEHIND, NodeKey, Readiness, current, is_known};
use crate::crypto::PublicKey;
use crate::records::body::Blob;
use crate::records::role::Role;
use crate::records::scene::{Scene, Verdict, reject};
use crate::records::schema::{Area, Field, FieldKind, RecordType};
use crate::seal::{POSSESSION_BYTES, possession_holds};
use crate::state::{StateFault, key};

pub(super) const NODE_READY: RecordType = RecordType {
    name: "node_ready",
    zh: "节点就绪",
    area: Area::Governance,
    fields: &[
        Field::need("epoch", FieldKind::Count),
        Field::need("height", FieldKind::Count),
        Field::need("sealing_key", FieldKind::PublicKey),
        Field::need("sealing_proof", FieldKind::Bytes(POSSESSION_BYTES)),
    ],
    submitters: &[Role::Admin, Role::NodeOperator],
    check: may_be_ready,
    take_effect: ready,
    ..RecordType::BASE
};

fn sealing_key(scene: &Scene<'_>) -> Result<PublicKey, StateFault> {
    scene.record.need("sealing_key").map(PublicKey)
}

/// 3801: a member now or in the change that waits. 3810: for the next epoch, by a node that follows. 3806, 3807: a key
/// that its holder has and nobody had before.
fn may_be_ready(scene: &mut Scene<'_>) -> Verdict {
    let (set, agency) = (current(&scene.draft)?, scene.record.reference.agency.clone());
    if set.index_of(&agency).is_none() && !seats::is_awaited(&scene.draft, &agency)? {
        return reject(3801, format!("{agency} has no seat in the authority set, now or next"));
    }
    let (epoch, height): (u64, u64) = (scene.record.need("epoch")?, scene.record.need("height")?);
    let next = set.epoch.saturating_add(1);
    if epoch != next {
        return reject(3810, format!("ready for epoch {epoch}, the next is {next}"));
    }
    let behind = scene.block.height.checked_sub(height);
    if behind.is_none_or(|behind| behind > MAX_BEHIND) {
        return reject(3810, format!("the node is at height {height}, this is block {}", scene.block.height));
    }
    let (key, proof): (_, Blob) = (sealing_key(scene)?, scene.record.need("sealing_proof")?);
    if !possession_holds(&scene.network.origin, &key, &proof.0) {
        return reject(3806, format!("{agency} does not prove that it holds {key:?}"));
    }
    let said: Option<Readiness> = scene.draft.get(&key::sealing(&agency))?;
    let repeated = said.is_some_and(|said| said.epoch == epoch && said.sealing_key == key.0);
    if !repeated && is_known(&scene.draft, &key, &set)? {
        return reject(3807, format!("key {key:?} was registered before"));
    }
    Ok(())
}

fn ready(scene: &mut Scene<'_>) -> Verdict {
    let (epoch, height, key) = (scene.record.need("epoch")?, scene.record.need("height")?, sealing_key(scene)?);
    let agency = scene.record.reference.agency.clone();
    scene.draft.put(key::node_key(&key), &NodeKey { epoch })?;
    scene.draft.put(key::sealing(&agency), &Readiness { epoch, sealing_key: key.0, height })?;
    Ok(())
}
