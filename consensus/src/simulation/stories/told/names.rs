//! One test a story.

use super::tell;

#[test]
fn fair_weather_then_silence() {
    tell("fair_weather_then_silence");
}

#[test]
fn idle_makes_one_block_an_hour() {
    tell("idle_makes_one_block_an_hour");
}

#[test]
fn delays_of_a_second() {
    tell("delays_of_a_second");
}

#[test]
fn waits_ends_in_silence() {
    tell("waits_ends_in_silence");
}

#[test]
fn one_holder_and_a_silent_proposer() {
    tell("one_holder_and_a_silent_proposer");
}

#[test]
fn a_build_that_outlives_its_turn() {
    tell("a_build_that_outlives_its_turn");
}

#[test]
fn foul_weather() {
    tell("foul_weather");
}

#[test]
fn everybody_crashes_again_and_again() {
    tell("everybody_crashes_again_and_again");
}

#[test]
fn away_for_long_and_back_by_range() {
    tell("away_for_long_and_back_by_range");
}

#[test]
fn clocks_apart() {
    tell("clocks_apart");
}

#[test]
fn a_clock_far_ahead() {
    tell("a_clock_far_ahead");
}

#[test]
fn hundreds_of_turns_fail() {
    tell("hundreds_of_turns_fail");
}

#[test]
fn slow_execution_everywhere() {
    tell("slow_execution_everywhere");
}

#[test]
fn authorities_change_in_foul_weather() {
    tell("authorities_change_in_foul_weather");
}

#[test]
fn twin_instances_and_an_even_split() {
    tell("twin_instances_and_an_even_split");
}

#[test]
fn twin_proposals() {
    tell("twin_proposals");
}

#[test]
fn twin_votes() {
    tell("twin_votes");
}

#[test]
fn one_block_under_two_justifications() {
    tell("one_block_under_two_justifications");
}

#[test]
fn never_confirms_and_a_slow_node() {
    tell("never_confirms_and_a_slow_node");
}

#[test]
fn never_confirms() {
    tell("never_confirms");
}

#[test]
fn wrong_headers() {
    tell("wrong_headers");
}

#[test]
fn hidden_skips() {
    tell("hidden_skips");
}

#[test]
fn usurped_turns() {
    tell("usurped_turns");
}

#[test]
fn padded_bitmaps() {
    tell("padded_bitmaps");
}

#[test]
fn changed_bytes() {
    tell("changed_bytes");
}

#[test]
fn replays_of_the_epoch_before() {
    tell("replays_of_the_epoch_before");
}

#[test]
fn one_victim() {
    tell("one_victim");
}

#[test]
fn a_mixture_at_seven() {
    tell("a_mixture_at_seven");
}

#[test]
fn quorum_305_endorsed_here_then_there() {
    tell("quorum_305_endorsed_here_then_there");
}

#[test]
fn besu_7642_celo_706_quorum_1664_drift() {
    tell("besu_7642_celo_706_quorum_1664_drift");
}

#[test]
fn besu_8307_iroha_2977_wiped_disks() {
    tell("besu_8307_iroha_2977_wiped_disks");
}

#[test]
fn besu_11031_10917_idle_and_a_dead_proposer() {
    tell("besu_11031_10917_idle_and_a_dead_proposer");
}

#[test]
fn cometbft_247_8739_crash_at_every_effect() {
    tell("cometbft_247_8739_crash_at_every_effect");
}

#[test]
fn cometbft_5804_6031_copied_disk() {
    tell("cometbft_5804_6031_copied_disk");
}

#[test]
fn csa_2026_001_asa_2025_false_claims() {
    tell("csa_2026_001_asa_2025_false_claims");
}

#[test]
fn malachite_850_certificate_at_one_node() {
    tell("malachite_850_certificate_at_one_node");
}

#[test]
fn malachite_997_confirmed_and_restarted() {
    tell("malachite_997_confirmed_and_restarted");
}

#[test]
fn malachite_997_on_a_vote_that_is_gone() {
    tell("malachite_997_on_a_vote_that_is_gone");
}

#[test]
fn simplex_280_certificate_after_own_skip() {
    tell("simplex_280_certificate_after_own_skip");
}

#[test]
fn simplex_541_boundary_not_final_for_long() {
    tell("simplex_541_boundary_not_final_for_long");
}

#[test]
fn commonware_4275_all_skip_all_crash() {
    tell("commonware_4275_all_skip_all_crash");
}

#[test]
fn commonware_2192_certificates_split() {
    tell("commonware_2192_certificates_split");
}

#[test]
fn commonware_4436_slow_execution() {
    tell("commonware_4436_slow_execution");
}

#[test]
fn agave_13638_isolated_while_turns_are_skipped() {
    tell("agave_13638_isolated_while_turns_are_skipped");
}

#[test]
fn alpenglow_132_votes_for_one_victim() {
    tell("alpenglow_132_votes_for_one_victim");
}

#[test]
fn smartbft_622_finality_and_timeout_meet() {
    tell("smartbft_622_finality_and_timeout_meet");
}

#[test]
fn iroha_5230_1170_signed_and_offline() {
    tell("iroha_5230_1170_signed_and_offline");
}

#[test]
fn iroha_4164_5317_last_block_before_idle() {
    tell("iroha_4164_5317_last_block_before_idle");
}

#[test]
fn aura_clique_twin_proposer_even_split() {
    tell("aura_clique_twin_proposer_even_split");
}

#[test]
fn final_certificate_without_its_block() {
    tell("final_certificate_without_its_block");
}

#[test]
fn every_story_has_its_test() {
    let text = include_str!("names.rs");
    for story in crate::simulation::stories::all() {
        assert!(text.contains(&format!("fn {}()", story.name)), "{} is told by no test", story.name);
    }
}
