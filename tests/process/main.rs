//! Real processes: the program `muster`, killed, asked wrongly, and driven as people drive it.
//!
//! Time is the machine's here, so tests wait; each wait polls and has a deadline.

#[cfg(test)]
mod consent;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod lambda;
#[cfg(test)]
mod microsoft;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod rotate;
#[cfg(test)]
mod verbs;
