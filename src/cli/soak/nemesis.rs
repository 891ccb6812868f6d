//! What goes wrong, in an order that a number decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Running;
use super::checker::Checker;
use super::servers::Servers;
use crate::cli::Failure;
use crate::cli::proxy::Way;

pub(super) struct Nemesis {
    dice: StdRng,
    servers: Servers,
    faults: BTreeMap<&'static str, u64>,
}

impl Nemesis {
    pub fn new(seed: u64, servers: Servers) -> Self {
        Self { dice: StdRng::seed_from_u64(seed), servers, faults: BTreeMap::new() }
    }

    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.faults.clone()
    }

    fn ms(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.dice.random_range(range))
    }

    /// One fault, and its end.
    pub async fn strike(&mut self, nodes: &mut [Running], checker: &Arc<Mutex<Checker>>) -> Result<(), Failure> {
        // Time to get on with it: for as long as a lease after some faults, nothing is cached at all.
        let calm = self.ms(200..2_600);
        tokio::time::sleep(calm).await;
        let at = self.dice.random_range(0..nodes.len());
        let fault = self.dice.random_range(0..14);
        let for_so_long = self.ms(50..1_500);
        let name = match fault {
            0 => {
                self.servers.restart()?;
                "restart"
            }
            1 | 2 => {
                self.servers.fail_over()?;
                nodes.iter().for_each(|node| node.proxy.lead_to(self.servers.primary()));
                "failover"
            }
            3 => {
                self.servers.flush();
                "flush"
            }
            4 => {
                self.servers.pause(true);
                tokio::time::sleep(for_so_long).await;
                self.servers.pause(false);
                "pause"
            }
            5 => {
                self.servers.fill(true);
                tokio::time::sleep(for_so_long).await;
                self.servers.fill(false);
                "out of memory"
            }
            6 => {
                self.servers.disconnect(["normal", "pubsub"][self.dice.random_range(0..2)]);
                "disconnect"
            }
            7 | 8 => {
                let by = self.ms(1..200);
                let way = [Way::Cut, Way::Blocked, Way::Slow(by), Way::Garbled][self.dice.random_range(0..4)];
                nodes[at].proxy.set(way);
                tokio::time::sleep(for_so_long).await;
                nodes[at].proxy.set(Way::Open);
                match way {
                    Way::Cut => "cut off",
                    Way::Blocked => "blocked",
                    Way::Slow(_) => "slow",
                    _ => "garbled",
                }
            }
            9 => {
                nodes[at].end().await;
                "node killed"
            }
            10 => {
                stop(&nodes[at], "STOP");
                tokio::time::sleep(for_so_long).await;
                stop(&nodes[at], "CONT");
                "node paused"
            }
            // A demoted primary, to which a node keeps its connections.
            11 => {
                let old = self.servers.primary();
                self.servers.fail_over()?;
                for (other, node) in nodes.iter().enumerate() {
                    node.proxy.lead_to(if other == at { old } else { self.servers.primary() });
                }
                tokio::time::sleep(for_so_long).await;
                nodes[at].proxy.lead_to(self.servers.primary());
                // A new connection leads to the primary.
                nodes[at].proxy.set(Way::Cut);
                tokio::time::sleep(Duration::from_millis(20)).await;
                nodes[at].proxy.set(Way::Open);
                "sent to a replica"
            }
            // Leases end too soon, or too late.
            12 => {
                let seconds = self.dice.random_range(-3..=3);
                self.servers.move_clock(seconds);
                "clock moved"
            }
            _ => "none",
        };
        *self.faults.entry(name).or_default() += 1;
        self.revive(nodes, checker).await
    }

    /// Starts nodes again that have ended.
    async fn revive(&mut self, nodes: &mut [Running], checker: &Arc<Mutex<Checker>>) -> Result<(), Failure> {
        for node in nodes {
            if !node.is_alive() {
                *self.faults.entry("node started again").or_default() += 1;
                node.end().await;
                node.start(checker).await?;
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more.
    pub async fn make_peace(&mut self, nodes: &mut [Running], checker: &Arc<Mutex<Checker>>) -> Result<(), Failure> {
        self.servers.pause(false);
        self.servers.fill(false);
        nodes.iter().for_each(|node| node.proxy.set(Way::Open));
        self.revive(nodes, checker).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.revive(nodes, checker).await
    }
}

fn stop(node: &Running, signal: &str) {
    if let Some(id) = node.process.as_ref().and_then(|(process, _)| process.id()) {
        let _ = std::process::Command::new("sh").args(["-c", &format!("kill -s {signal} {id}")]).status();
    }
}
