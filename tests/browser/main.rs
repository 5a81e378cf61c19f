//! The pages in a real browser: Debian's Chromium, the program `muster` and a simulated Microsoft, all on loopback.
//!
//! Each person of a story has a browser of their own, with a profile that nobody has used before, and finds things as
//! people do: by what buttons and fields are called. Every page a story comes to can be judged ([`judge`]) and has its
//! picture taken, in `target/browser`. Time is the machine's here; each wait polls and has a deadline.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod console;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod sign_in;

/// Programs as processes, and the Microsoft they talk to; the ring of processes has made them.
#[cfg(test)]
#[path = "../process/microsoft.rs"]
#[expect(dead_code, reason = "that ring needs more of it")]
mod microsoft;
#[cfg(test)]
#[path = "../process/programs.rs"]
#[expect(dead_code, reason = "that ring needs more of it")]
mod programs;
