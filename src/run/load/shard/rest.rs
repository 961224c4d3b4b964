//! How a shard rests: it sleeps until a socket, the clock or a task of the runtime has something for it, and puts off
//! for a moment what comes in a crowd. What it does when it is awake is not its subject.

use std::io;
use std::task::{Context, Waker};
use std::time::Duration;

use super::Shard;
use crate::plan::{LoadModel, Plan};
use crate::run::load::ready::Token;

/// What is due, or answered, this soon after another waits for one look together: a wake-up costs more than a request.
const SLACK_US: u64 = 50;
/// The runtime's tasks (signals, and whatever reads in their own way) wait no longer than this for a busy shard.
const WAY_US: u64 = 1_000;
/// No rest lasts longer, so that a standstill of thread, process or machine shows even while nothing is due.
const REST_US: u64 = 100_000;
/// The slack after a second with so many requests: 7% less CPU time than with 140 us, for 0.03 ms more at the median
/// (0.20 ms of 60,000/s).
pub(super) const CROWD: u64 = 40_000;
const CROWDED_SLACK_US: u64 = 200;

impl Shard {
    /// Sleeps until something rings; at `look_us`, at a deadline or at the end of the second the timer does.
    pub(super) async fn rest(&mut self, look_us: Option<u64>, ready: &mut Vec<Token>) -> io::Result<()> {
        let now_us = self.now_us();
        let end_us = if self.stopping { u64::MAX } else { self.end_us };
        // The same for every rest in between, so that the timer need not be set anew for each.
        let next_look_us = (now_us / REST_US + 1) * REST_US;
        let waits = [
            self.patience.next_us(),
            self.connecting.next_us(),
            self.retrying.next_us(),
            self.pause_us(),
            self.transport.idle_until_us(),
        ];
        let until_us = std::iter::once(look_us)
            .chain(waits)
            .flatten()
            .fold(self.second_ends_us.min(end_us).min(next_look_us), u64::min);
        let more_is_due = until_us <= now_us || self.transport.is_held_back();
        let turn_us = now_us.saturating_sub(self.looked_us);
        let slack_us = if self.crowded { CROWDED_SLACK_US } else { SLACK_US };
        let naps = !more_is_due && self.naps && !self.napped_in_vain && turn_us < slack_us;
        if naps {
            std::thread::sleep(Duration::from_micros(slack_us - turn_us));
        }
        let seen = self.transport.look_around()?;
        if seen || naps || more_is_due {
            self.give_way(now_us).await;
            self.take_bells(ready);
        } else {
            self.timer.set(until_us.max(now_us + SLACK_US), now_us)?;
            self.sleep_until_a_bell(ready).await?;
        }
        self.looked_us = self.now_us();
        let overslept_us = self.looked_us.saturating_sub(until_us.max(now_us));
        self.stood_still_us = self.stood_still_us.max(turn_us).max(overslept_us);
        // Where nothing comes so soon, the next rest lasts until something does.
        self.napped_in_vain = naps && !seen && ready.is_empty();
        Ok(())
    }

    /// Lets the tasks of the runtime have their turn, where they need each or have not had one for a while.
    async fn give_way(&mut self, now_us: u64) {
        if self.transport.has_tasks() || now_us.saturating_sub(self.gave_way_us) >= WAY_US {
            self.gave_way_us = now_us;
            tokio::task::yield_now().await;
        }
    }

    fn take_bells(&mut self, ready: &mut Vec<Token>) {
        // Nobody has to be woken: it does not sleep.
        let _ = self.ready.poll(&mut Context::from_waker(Waker::noop()), ready);
    }

    async fn sleep_until_a_bell(&mut self, ready: &mut Vec<Token>) -> io::Result<()> {
        self.transport.ring();
        // What happened before that does not ring.
        if self.transport.look_around()? {
            self.take_bells(ready);
            return Ok(());
        }
        let list = &self.ready;
        std::future::poll_fn(|context| list.poll(context, ready)).await;
        self.gave_way_us = self.now_us();
        self.transport.look_around()?;
        Ok(())
    }
}

/// Whether all starts of a plan come by the clock alone; users wait for their answers.
pub(super) fn naps(plan: &Plan) -> bool {
    let loads = plan.each_load();
    loads.iter().all(|load| load.model == LoadModel::Arrivals)
}
