//! Whatever is submitted, in whatever order: money is conserved, nothing is overspent, and the fold agrees.

use proptest::prelude::*;

use super::*;

/// What a random step may name: movements made so far, waiting or not.
struct Player {
    stage: Stage,
    made: Vec<String>,
    count: usize,
    applied: usize,
}

impl Player {
    fn play(&mut self, officer: &str, record_type: &str, fields: Vec<(&'static str, Value)>) {
        self.count += 1;
        let id = format!("R-{}", self.count);
        let outcome = self.stage.submit(officer, record_type, &id, fields);
        if outcome.outcome == 0 {
            self.applied += 1;
            let (agency, _) = officer.split_once('/').expect("agency/label");
            self.made.push(format!("{agency}/{id}"));
        }
    }

    fn pick(&self, choice: usize) -> Option<String> {
        (!self.made.is_empty()).then(|| self.made[choice % self.made.len()].clone())
    }

    fn step(&mut self, (kind, choice, minor): (u8, usize, u64)) {
        let amount_from_to =
            |from: &str, target: &str| vec![("amount", uint(minor)), ("from", to(from)), ("to", to(target))];
        let bank_ref = format!("B-{}", self.count);
        match (kind, self.pick(choice)) {
            (0, _) => self.play("finance/1", "appropriate", appropriation(minor)),
            (1, _) => self.play("finance/1", "allot", allotment(minor)),
            (2, _) => self.play("finance/1", "recall", amount_from_to("finance/P-ALL", "finance/P-APP")),
            (3, _) => self.play("finance/1", "recall", amount_from_to("finance/P-APP", "finance/P-SOU")),
            (4, _) => self.play("civil/1", "commit", commitment("G", minor)),
            (5, _) => self.play("civil/1", "decommit", with(commitment("G", minor), "from", to("finance/C-G"))),
            (6..=8, _) => self.play("civil/1", "payment_request", payment("G", 1, minor)),
            (9, _) => {
                let mut fields = amount_from_to("finance/P-RET", ["finance/P-SOU", "finance/C-G"][choice % 2]);
                fields.push(("reason", text("x")));
                self.play("civil/1", "refund", fields);
            }
            (_, None) => {}
            (10..=14, Some(name)) => {
                self.applied += usize::from(self.try_digest("finance/2", "approve", &name, vec![]));
            }
            (15, Some(name)) => {
                self.try_digest("finance/2", "reject", &name, vec![("reason", text("no"))]);
            }
            (16..=18, Some(name)) => self.play("bank/1", "payment_confirm", confirmation(&name, &bank_ref)),
            (19, Some(name)) => {
                let fields = vec![("movement", to(&name)), ("reason", text("closed"))];
                self.play("bank/1", "payment_fail", fields);
            }
            (20..=21, Some(name)) => {
                self.play("bank/1", "payment_return", payment_return(&name, minor, &bank_ref));
            }
            (22, Some(name)) => {
                let account = Value::bytes(&account_of(1));
                let fields = vec![("payment", to(&name)), ("amount", uint(minor)), ("payee_account", account)];
                self.play("civil/1", "payment_reissue", fields);
            }
            (_, Some(name)) => {
                let fields = vec![("movement", to(&name)), ("reason", text("x"))];
                self.play("civil/1", "movement_cancel", fields);
            }
        }
    }

    fn try_digest(&mut self, officer: &str, record_type: &str, name: &str, more: Vec<(&'static str, Value)>) -> bool {
        self.count += 1;
        let mut fields = self.stage.digest_of(name);
        fields.extend(more);
        self.stage.submit(officer, record_type, &format!("R-{}", self.count), fields).outcome == 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn random_records_conserve_money_and_never_overspend(
        steps in prop::collection::vec((0u8..24, 0usize..1000, 1u64..4_000), 30..60)
    ) {
        let mut player = Player { stage: funded(), made: Vec::new(), count: 0, applied: 0 };
        for (number, step) in steps.into_iter().enumerate() {
            player.step(step);
            if number % 6 == 0 {
                assert_balanced(&player.stage, "live");
            }
        }
        assert_balanced(&player.stage, "live");
        prop_assert!(player.applied > 0, "nothing was applied");
        let held = programme(&player.stage).held;
        let names = ["finance/P-APP", "finance/P-ALL", "finance/C-G", "finance/P-RET", "finance/P-CAR"];
        let accounts: Vec<Sums> = names.iter().map(|name| account(&player.stage, name).sums).collect();
        let sum = |part: fn(&Sums) -> u64| accounts.iter().map(part).sum::<u64>();
        prop_assert_eq!(held.credits_posted, sum(|sums| sums.credits_posted));
        prop_assert_eq!(held.debits_posted, sum(|sums| sums.debits_posted));
        prop_assert_eq!(held.debits_pending, sum(|sums| sums.debits_pending));
    }
}
