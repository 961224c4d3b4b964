//! Closes a shard's seconds and hands them over in order, the last ones when its load is over.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::Shard;
use super::rest::CROWD;
use crate::run::load::ready::Token;
use crate::run::load::seconds::{ShardSecond, fold_into_next};

/// Seconds kept while nobody takes them; older ones are folded together.
const BACKLOG_MAX: usize = 8;
/// How long the last seconds may wait to be taken before they are handed over at the end instead.
const LAST_SECONDS_WAIT: Duration = Duration::from_secs(2);

impl Shard {
    /// Ends every second that has passed; an empty one is a second too.
    pub(in crate::run::load) fn close_seconds(&mut self, now_us: u64) {
        while now_us >= self.second_ends_us {
            self.close_second();
            self.second_ends_us += 1_000_000;
        }
    }

    fn close_second(&mut self) {
        let present: u64 = self.sources.iter().map(|source| source.crowd.present()).sum();
        let users = present + self.arriving;
        let mut generator = self
            .meter
            .read(self.transport.take_most_open(), self.transport.busiest());
        generator.standstill = Duration::from_micros(std::mem::take(&mut self.stood_still_us));
        let second = self.recorder.close_second(users, generator);
        self.crowded = second.slice.intended >= CROWD;
        self.gather.last_second_had(second.slice.intended);
        self.backlog.push_back(second);
        self.offer();
        if self.backlog.len() > BACKLOG_MAX
            && let Some(earlier) = self.backlog.pop_front()
            && let Some(next) = self.backlog.front_mut()
        {
            fold_into_next(&earlier, next);
        }
    }

    /// Hands seconds over in order, without ever waiting.
    fn offer(&mut self) {
        while let Ok(room) = self.common.seconds.try_reserve() {
            match self.backlog.pop_front() {
                Some(second) => room.send(second),
                None => return,
            }
        }
    }

    /// Lets what was started end by itself; nothing outlives its own deadline.
    pub(super) async fn finish_in_flight(&mut self, ready: &mut Vec<Token>) -> io::Result<()> {
        self.try_again(self.now_us());
        self.cut_pauses(self.now_us());
        while self.passes.live() > 0 {
            self.rest(None, ready).await?;
            self.look_at(ready);
            let now_us = self.now_us();
            self.close_seconds(now_us);
            self.expire(now_us);
            self.open_more(now_us);
            self.try_again(now_us);
        }
        Ok(())
    }

    pub(super) async fn hand_over_last(&mut self) -> Vec<ShardSecond> {
        if self.recorder.is_dirty() {
            self.close_second();
        }
        let mut rest = std::mem::take(&mut self.backlog);
        let deadline = Instant::now() + LAST_SECONDS_WAIT;
        while !rest.is_empty() {
            match tokio::time::timeout_at(deadline, self.common.seconds.reserve()).await {
                Ok(Ok(room)) => {
                    if let Some(second) = rest.pop_front() {
                        room.send(second);
                    }
                }
                _ => break,
            }
        }
        rest.into()
    }
}
