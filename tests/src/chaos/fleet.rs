//! The nodes of a devnet as processes of this one, so that each can be killed, stopped, started otherwise, and reached by
//! relays that can be hurt. When and how they are hurt is decided elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;

use mingzhang_seeds::{Host, Seeds};
use rustix::process::Signal;
use serde_json::Value;

use super::wires::Wires;
use crate::world::{Running, Seat, World, until};

/// All nodes of a network.
pub struct Fleet<'a> {
    pub world: &'a World,
    pub wires: Wires,
    nodes: Vec<Option<Running>>,
}

impl<'a> Fleet<'a> {
    /// Stops a devnet's nodes and starts them again as own processes, each with a list of seeds that leads through relays.
    pub fn take_over(world: &'a World, seed: u64) -> Self {
        let told = world.down();
        assert_eq!(told.exit, Some(0), "devnet down: {} {}", told.json, told.stderr);
        let text = std::fs::read_to_string(world.path().join("seeds.toml")).expect("the devnet wrote its seeds");
        let seeds = Seeds::parse(&text).expect("valid seeds");
        let addresses: Vec<SocketAddr> = world.seats.iter().map(|seat| listens(&seeds, &seat.agency)).collect();
        let wires = Wires::between(&addresses, seed);
        for (from, seat) in world.seats.iter().enumerate() {
            let mut theirs = seeds.clone();
            for (to, other) in world.seats.iter().enumerate().filter(|(to, _)| *to != from) {
                let peer = theirs.peers.iter_mut().find(|peer| peer.agency == other.agency).expect("in the seeds");
                peer.addresses[0].port = wires.door(from, to).port();
            }
            let file = world.node_folder(&seat.agency).join("seeds.toml");
            std::fs::write(&file, theirs.to_text()).expect("written");
            set_seeds_file(&world.config_of(&seat.agency), &file.display().to_string());
        }
        let mut fleet = Self { world, wires, nodes: world.seats.iter().map(|_| None).collect() };
        (0..fleet.len()).for_each(|node| fleet.start(node, &[]));
        (0..fleet.len()).for_each(|node| fleet.wait_ready(node));
        fleet
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn seat(&self, node: usize) -> &Seat {
        &self.world.seats[node]
    }

    /// Faulty members that the network tolerates.
    pub fn tolerates(&self) -> usize {
        self.len().div_ceil(3) - 1
    }

    pub fn start(&mut self, node: usize, arguments: &[&str]) {
        let config = self.world.config_of(&self.seat(node).agency);
        self.nodes[node] = Some(self.world.spawn(&config, arguments));
    }

    /// Without any warning, and only returning once it is gone.
    pub fn kill(&mut self, node: usize) {
        drop(self.nodes[node].take());
    }

    pub fn running(&self, node: usize) -> &Running {
        self.nodes[node].as_ref().expect("the node runs")
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        self.running(node).signal(signal);
    }

    pub fn wait_ended(&mut self, node: usize) {
        let agency = self.seat(node).agency.clone();
        let running = self.nodes[node].as_mut().expect("the node runs");
        until(&format!("{agency}'s node to stop by itself"), || running.has_ended().then_some(()));
        self.nodes[node] = None;
    }

    pub fn status(&self, node: usize) -> Option<Value> {
        Some(self.world.get(self.seat(node), "/status")?.1)
    }

    pub fn height(&self, node: usize) -> Option<u64> {
        self.status(node)?["height"].as_u64()
    }

    /// The highest block that any of the other nodes holds.
    pub fn tip(&self, without: &[usize]) -> u64 {
        let heights = (0..self.len()).filter(|node| !without.contains(node)).filter_map(|node| self.height(node));
        heights.max().expect("some node answers")
    }

    pub fn wait_ready(&self, node: usize) {
        until(&format!("{} to be ready", self.seat(node).agency), || {
            (self.status(node)?["state"] == "ready").then_some(())
        });
    }

    /// Waits until one of a node's alarms says this.
    pub fn wait_alarm(&self, node: usize, words: &[&str]) -> String {
        until(&format!("{} to say {words:?}", self.seat(node).agency), || {
            let status = self.status(node)?;
            let alarms = status["alarms"].as_array()?.iter().filter_map(Value::as_str);
            alarms.into_iter().find(|alarm| words.iter().all(|word| alarm.contains(word))).map(str::to_owned)
        })
    }

    pub fn data(&self, node: usize) -> PathBuf {
        self.world.node_folder(&self.seat(node).agency).join("data")
    }

    pub fn log(&self, node: usize) -> String {
        let file = self.world.node_folder(&self.seat(node).agency).join("node.log");
        std::fs::read_to_string(file).expect("the node's log")
    }
}

fn listens(seeds: &Seeds, agency: &str) -> SocketAddr {
    let peer = seeds.peers.iter().find(|peer| peer.agency == agency).expect("a member is in the seeds");
    match &peer.addresses[0].host {
        Host::Ip4(ip) => SocketAddr::from((*ip, peer.addresses[0].port)),
        Host::Ip6(ip) => SocketAddr::from((*ip, peer.addresses[0].port)),
        Host::Dns(name) => panic!("a devnet names addresses, not {name}"),
    }
}

fn set_seeds_file(config: &str, file: &str) {
    let text = std::fs::read_to_string(config).expect("the devnet wrote the configuration");
    let mut table: toml::Table = text.parse().expect("a configuration is TOML");
    table.insert("seeds_file".to_owned(), toml::Value::String(file.to_owned()));
    std::fs::write(config, table.to_string()).expect("written");
}
