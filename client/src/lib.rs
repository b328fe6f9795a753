//! Everybody's tool: builds, signs and submits records, queries nodes and verifies whatever they answer.

pub mod audit;
pub mod body;
pub mod command;
pub mod consent;
pub mod context;
pub mod currency;
pub mod explain;
pub mod handoffs;
pub mod import;
pub mod interrupt;
pub mod kept;
pub mod keys;
pub mod node_api;
pub mod output;
pub mod proven;
pub mod salt;
pub mod settle;
pub mod submit;
pub mod tls;
pub mod verify;
