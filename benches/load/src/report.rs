//! Medians, ratios paired by round, and what they should be.

use crate::contenders::{
    Cost, EMBEDDED, GATEWAY, NGINX, NGINX_CACHED, NGINX_REDIS, RAW, TRAINED, UNCHECKED,
};
use crate::generate::Load;

/// All that was measured.
#[derive(Default)]
pub(crate) struct Report {
    costs: Vec<(Load, &'static str, Cost)>,
    memory: Vec<(&'static str, &'static str, f64)>,
}

/// How a load is called.
pub(crate) fn name(load: Load) -> String {
    format!(
        "{}, {}, {} connections",
        load.protocol, load.file, load.connections
    )
}

/// Median, smallest and largest.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: *values.get(values.len() / 2)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// One contender's cost by another one's, and what it should be at most.
struct Goal {
    what: &'static str,
    load: Load,
    ours: &'static str,
    theirs: &'static str,
    cost: fn(&Cost) -> f64,
    most: f64,
}

const ALONE: fn(&Cost) -> f64 = |cost| cost.cpu;
const WITH_HELPER: fn(&Cost) -> f64 = |cost| cost.cpu + cost.helper;

const GOALS: [Goal; 10] = [
    Goal {
        what: "PGO : Pingora as it comes",
        load: Load::MAIN,
        ours: TRAINED,
        theirs: RAW,
        cost: ALONE,
        most: 0.75,
    },
    Goal {
        what: "without PGO : Pingora as it comes",
        load: Load::MAIN,
        ours: GATEWAY,
        theirs: RAW,
        cost: ALONE,
        most: 0.90,
    },
    Goal {
        what: "PGO : nginx + Lua + LRU cache",
        load: Load::MAIN,
        ours: TRAINED,
        theirs: NGINX_CACHED,
        cost: ALONE,
        most: 1.0,
    },
    Goal {
        what: "PGO : nginx + Lua + Redis, redis-server counted",
        load: Load::MAIN,
        ours: TRAINED,
        theirs: NGINX_REDIS,
        cost: WITH_HELPER,
        most: 0.55,
    },
    Goal {
        what: "PGO : nginx without a check",
        load: Load::H2,
        ours: TRAINED,
        theirs: NGINX,
        cost: ALONE,
        most: 1.0,
    },
    Goal {
        what: "PGO : nginx without a check",
        load: Load::NEW,
        ours: TRAINED,
        theirs: NGINX,
        cost: ALONE,
        most: 0.8,
    },
    Goal {
        what: "without PGO : nginx without a check",
        load: Load::NEW,
        ours: GATEWAY,
        theirs: NGINX,
        cost: ALONE,
        most: 0.8,
    },
    Goal {
        what: "without PGO : the same, its check off",
        load: Load::TWO,
        ours: GATEWAY,
        theirs: UNCHECKED,
        cost: ALONE,
        most: 1.05,
    },
    Goal {
        what: "without PGO : the same, its check off",
        load: Load::MAIN,
        ours: GATEWAY,
        theirs: UNCHECKED,
        cost: ALONE,
        most: 1.05,
    },
    Goal {
        what: "embedded store : Redis",
        load: Load::MAIN,
        ours: EMBEDDED,
        theirs: GATEWAY,
        cost: ALONE,
        most: 1.1,
    },
];

/// MiB with 5,000 idle connections.
const MAX_MEMORY: f64 = 120.0;

impl Report {
    pub(crate) fn note(&mut self, load: Load, name: &'static str, cost: Cost) {
        self.costs.push((load, name, cost));
    }

    pub(crate) fn note_memory(&mut self, name: &'static str, over: &'static str, mebibytes: f64) {
        self.memory.push((name, over, mebibytes));
    }

    fn rounds(&self, load: Load, name: &str) -> impl Iterator<Item = &Cost> {
        self.costs
            .iter()
            .filter(move |(other, who, _)| *other == load && *who == name)
            .map(|(_, _, cost)| cost)
    }

    fn ratio(
        &self,
        load: Load,
        ours: &str,
        theirs: &str,
        cost: fn(&Cost) -> f64,
    ) -> Option<Spread> {
        let pairs = self.rounds(load, ours).zip(self.rounds(load, theirs));
        Spread::of(
            pairs
                .map(|(ours, theirs)| cost(ours) / cost(theirs))
                .collect(),
        )
    }

    /// Prints one load's table.
    pub(crate) fn print(&self, load: Load) {
        println!("\n{}", name(load));
        println!(
            "| | CPU s/10,000 (min to max) | helper | requests/s | p50 ms | p99 ms | : Pingora | : nginx |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let names: Vec<_> = self
            .costs
            .iter()
            .filter(|(other, ..)| *other == load)
            .map(|(_, name, _)| *name)
            .collect();
        for name in names
            .iter()
            .enumerate()
            .filter(|(at, name)| !names[..*at].contains(name))
            .map(|(_, name)| *name)
        {
            let spread =
                |cost: fn(&Cost) -> f64| Spread::of(self.rounds(load, name).map(cost).collect());
            let median = |cost| spread(cost).map_or(f64::NAN, |spread: Spread| spread.median);
            let Some(cpu) = spread(ALONE) else { continue };
            let ratio = |theirs| {
                self.ratio(load, name, theirs, ALONE)
                    .map_or("".to_owned(), |ratio| format!("{:.2}", ratio.median))
            };
            println!(
                "| {name} | {:.3} ({:.3} to {:.3}) | {:.3} | {:.0} | {:.2} | {:.2} | {} | {} |",
                cpu.median,
                cpu.min,
                cpu.max,
                median(|cost| cost.helper),
                median(|cost| cost.rate),
                median(|cost| cost.p50),
                median(|cost| cost.p99),
                ratio(RAW),
                ratio(NGINX),
            );
        }
    }

    /// Prints what was reached of what should be.
    pub(crate) fn print_goals(&self) {
        println!("\n| CPU ratio | load | median (min to max) | at most | |");
        println!("|---|---|---|---|---|");
        for goal in &GOALS {
            let Some(ratio) = self.ratio(goal.load, goal.ours, goal.theirs, goal.cost) else {
                continue;
            };
            let verdict = if ratio.median <= goal.most {
                "met"
            } else {
                "MISSED"
            };
            let (what, load) = (goal.what, name(goal.load));
            println!(
                "| {what} | {load} | {:.3} ({:.3} to {:.3}) | {:.2} | {verdict} |",
                ratio.median, ratio.min, ratio.max, goal.most
            );
        }
    }

    /// Prints whether idle connections take as little memory as they should.
    pub(crate) fn print_memory_goals(&self) {
        println!("\n| MiB | with idle connections | | at most | |");
        println!("|---|---|---|---|---|");
        for (name, over, mebibytes) in self
            .memory
            .iter()
            .filter(|(name, ..)| [GATEWAY, TRAINED].contains(name))
        {
            let verdict = if *mebibytes <= MAX_MEMORY {
                "met"
            } else {
                "MISSED"
            };
            println!("| {name} | {over} | {mebibytes:.0} | {MAX_MEMORY:.0} | {verdict} |");
        }
    }
}
