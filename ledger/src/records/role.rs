//! The roles of §9 of the records page: who may act as what. Which record wants which role is in the mechanisms' tables.

use minicbor::{Decode, Encode};

/// What an officer may be, within an agency that may hold the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Registers officers and grants roles within the agency; always two.
    #[n(0)]
    Admin,
    #[n(1)]
    Reviewer,
    #[n(2)]
    Decider,
    #[n(3)]
    Head,
    #[n(4)]
    Window,
    #[n(5)]
    ProgrammeOwner,
    #[n(6)]
    Finance,
    #[n(7)]
    AgentBank,
    #[n(8)]
    TradingCentre,
    #[n(9)]
    Buyer,
    #[n(10)]
    Evaluator,
    #[n(11)]
    Bidder,
    #[n(12)]
    Charity,
    #[n(13)]
    Trustee,
    #[n(14)]
    DataOwner,
    #[n(15)]
    DataAuthority,
    #[n(16)]
    Supervisor,
    #[n(17)]
    Auditor,
    #[n(18)]
    Importer,
    #[n(19)]
    NodeOperator,
}

impl Role {
    pub const ALL: [Role; 20] = [
        Self::Admin,
        Self::Reviewer,
        Self::Decider,
        Self::Head,
        Self::Window,
        Self::ProgrammeOwner,
        Self::Finance,
        Self::AgentBank,
        Self::TradingCentre,
        Self::Buyer,
        Self::Evaluator,
        Self::Bidder,
        Self::Charity,
        Self::Trustee,
        Self::DataOwner,
        Self::DataAuthority,
        Self::Supervisor,
        Self::Auditor,
        Self::Importer,
        Self::NodeOperator,
    ];

    /// The code that bodies, genesis files and answers use.
    pub fn code(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Reviewer => "reviewer",
            Self::Decider => "decider",
            Self::Head => "head",
            Self::Window => "window",
            Self::ProgrammeOwner => "programme_owner",
            Self::Finance => "finance",
            Self::AgentBank => "agent_bank",
            Self::TradingCentre => "trading_centre",
            Self::Buyer => "buyer",
            Self::Evaluator => "evaluator",
            Self::Bidder => "bidder",
            Self::Charity => "charity",
            Self::Trustee => "trustee",
            Self::DataOwner => "data_owner",
            Self::DataAuthority => "data_authority",
            Self::Supervisor => "supervisor",
            Self::Auditor => "auditor",
            Self::Importer => "importer",
            Self::NodeOperator => "node_operator",
        }
    }

    pub fn from_code(code: &str) -> Option<Role> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}
