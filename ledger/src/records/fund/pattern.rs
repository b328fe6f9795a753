//! The pattern of 3911: the same payee or donor, amount and day, twice. A flag for auditors, never a rejection.

use crate::records::object::Ref;
use crate::records::scene::{Scene, Verdict};
use crate::state::key;

/// What is compared, beside the record's effective day.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub programme: Ref,
    /// None: nobody to compare with.
    pub who: Option<String>,
    pub amount: u64,
}

/// 3911, unless the record itself was the first.
pub fn repeated(scene: &mut Scene<'_>, pattern: &Pattern) -> Verdict {
    let Some(key) = key_of(scene, pattern) else { return Ok(()) };
    if let Some(first) = scene.draft.get::<Ref>(&key)?
        && first != scene.record.reference
    {
        let (amount, day) = (pattern.amount, scene.record.effective);
        scene.flag(3911, format!("{amount} on {day}, as in {first}"));
    }
    Ok(())
}

/// The first record of a pattern is what later ones are compared with.
pub fn remember(scene: &mut Scene<'_>, pattern: &Pattern) -> Verdict {
    let Some(key) = key_of(scene, pattern) else { return Ok(()) };
    if !scene.draft.exists(&key)? {
        let own = scene.record.reference.clone();
        scene.draft.put(key, &own)?;
    }
    Ok(())
}

fn key_of(scene: &Scene<'_>, pattern: &Pattern) -> Option<key::Key> {
    let who = pattern.who.as_ref()?;
    let (programme, day) = (pattern.programme.key_part(), scene.record.effective);
    Some(key::code("pattern", &format!("{day}:{}:{programme}:{who}", pattern.amount)))
}
