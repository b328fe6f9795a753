//! Patterns that auditors ask about: the same payee or donor, amount and day, twice (3911); an amount just below the
//! one that needs a second approval (3913). Flags, never rejections.

use super::movement;
use crate::records::object::{Mode, Ref};
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

/// 3911, unless the record itself was the first. A pattern is the request's; its approval is not flagged again.
pub fn repeated(scene: &mut Scene<'_>, pattern: &Pattern) -> Verdict {
    repeated_beside(scene, pattern, &[])
}

/// As [`repeated`]; `own` are the payments that a reissue makes again.
pub fn repeated_beside(scene: &mut Scene<'_>, pattern: &Pattern, own: &[&Ref]) -> Verdict {
    if movement::own(scene)?.is_some() {
        return Ok(());
    }
    let Some(key) = key_of(scene, pattern) else { return Ok(()) };
    if let Some(first) = scene.draft.get::<Ref>(&key)?
        && first != scene.record.reference
        && !own.contains(&&first)
    {
        let (amount, day) = (pattern.amount, scene.record.effective);
        scene.flag(3911, format!("{amount} on {day}, as in {first}"));
    }
    Ok(())
}

/// 3913, in live programmes: at most the amount from which a second finance officer must approve, and close to it.
pub fn near_threshold(scene: &mut Scene<'_>, amount: u64) -> Verdict {
    if scene.mode != Mode::Live || movement::own(scene)?.is_some() {
        return Ok(());
    }
    let threshold = scene.parameter("second_approval_minor")?;
    let share = scene.parameter("near_threshold")?;
    let near = u128::from(amount).saturating_mul(10_000) >= u128::from(threshold).saturating_mul(u128::from(share));
    if amount <= threshold && near && share > 0 {
        scene.flag(3913, format!("{amount}, a second approval begins above {threshold}"));
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
