//! What becomes of a good file: cut short, with flipped bytes, or with a part of another one.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

/// Files are cut after each of these shares of their length, in per cent.
const CUT_AT: std::ops::Range<usize> = 1..20;
const CUT_STEP_PERCENT: usize = 5;
/// Beside the cuts; a list longer than all of them begins anew with other bytes.
const FLIPS: usize = 12;
const SPLICES: usize = 8;
/// Where formats keep what tells of the rest.
const HEAD: usize = 512;

#[derive(Debug, Clone, Copy)]
enum Mutation {
    /// The end is missing; how much is left, in per cent.
    Cut(usize),
    Flip,
    Splice,
}

/// The first `count` mutations of `good` in an order that the seed tells, each with a word for it. `others` are files to take parts of.
pub fn mutations(good: &[u8], others: &[Vec<u8>], seed: u64, count: usize) -> Vec<(String, Vec<u8>)> {
    let mut random = StdRng::seed_from_u64(seed);
    let cuts = CUT_AT.map(|n| Mutation::Cut(n * CUT_STEP_PERCENT));
    let mut all: Vec<Mutation> = cuts.chain([Mutation::Flip; FLIPS]).chain([Mutation::Splice; SPLICES]).collect();
    all.shuffle(&mut random);
    let mutations = all.into_iter().cycle().take(count);
    mutations.map(|mutation| apply(mutation, good, others, &mut random)).collect()
}

fn apply(mutation: Mutation, good: &[u8], others: &[Vec<u8>], random: &mut StdRng) -> (String, Vec<u8>) {
    let mut bytes = good.to_vec();
    match mutation {
        Mutation::Cut(percent) => {
            bytes.truncate(bytes.len() * percent / 100);
            (format!("cut-{percent}"), bytes)
        }
        Mutation::Flip => {
            let flips = random.random_range(1..=32);
            for _ in 0..flips {
                // Every other one where it hurts most.
                let within = if random.random() { bytes.len().min(HEAD) } else { bytes.len() };
                let at = random.random_range(0..within);
                bytes[at] = *[bytes[at] ^ (1 << random.random_range(0..8)), 0, 0x7f, 0xff].choose(random).unwrap();
            }
            (format!("flip-{flips}"), bytes)
        }
        Mutation::Splice => {
            let other = others.choose(random).unwrap();
            let from = if random.random() { 0 } else { random.random_range(0..other.len()) };
            let part = &other[from..(from + random.random_range(1..=HEAD)).min(other.len())];
            let to = if random.random() { 0 } else { random.random_range(0..bytes.len()) };
            // In place of what was there, or before it.
            let replaced = if random.random() { part.len().min(bytes.len() - to) } else { 0 };
            bytes.splice(to..to + replaced, part.iter().copied());
            (format!("splice-{}-at-{to}", part.len()), bytes)
        }
    }
}
