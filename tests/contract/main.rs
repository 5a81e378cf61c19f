//! The ports' contracts: one suite a port, every clause a test of its own on every implementation.
//!
//! A suite knows its port's trait alone. An implementation is one line at the top of the suite: a name, and a function
//! that opens it afresh. What is opened gives any number of handles on one and the same state, as the processes of one
//! deployment hold them.

/// Makes a module for each implementation, with a test for each clause.
#[cfg(test)]
macro_rules! suite {
    ($($name:ident => $open:expr),+ ; $clauses:tt) => { $( suite!(@on $name, $open, $clauses); )+ };
    (@on $name:ident, $open:expr, [$($clause:ident),+ $(,)?]) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $clause() {
                    let _runtime = crate::aws::enter();
                    ::futures::executor::block_on(super::$clause($open));
                }
            )+
        }
    };
}

#[cfg(test)]
mod aws;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod lake;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod rotations;
#[cfg(test)]
mod store;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod vault;

#[cfg(test)]
use std::{sync::Arc, thread};

/// Each call is another handle on the same state.
#[cfg(test)]
type Open<P> = Box<dyn Fn() -> Arc<P>>;

/// Runs `work` at the same time on this many handles, and tells what each came to.
#[cfg(test)]
fn race<P, T>(open: &Open<P>, contenders: usize, work: impl Fn(usize, Arc<P>) -> T + Sync) -> Vec<T>
where
    P: ?Sized + Send + Sync,
    T: Send,
{
    let handles: Vec<Arc<P>> = (0..contenders).map(|_| open()).collect();
    let start = std::sync::Barrier::new(contenders);
    let (work, start) = (&work, &start);
    thread::scope(|scope| {
        let running: Vec<_> = handles
            .into_iter()
            .enumerate()
            .map(|(number, handle)| {
                scope.spawn(move || {
                    let _runtime = aws::enter();
                    start.wait();
                    work(number, handle)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
