//! Proof on the wire: the template that ships is read, judged, deployed on loopback and told a story; and the simulated
//! storage answers as an emulated one does, which is drained in its turn.
//!
//! Time is the machine's here, so tests wait; each wait polls and has a deadline.

#[cfg(test)]
mod azure;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod console;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod microsoft;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod stack;
#[cfg(test)]
mod story;
#[cfg(test)]
mod template;
