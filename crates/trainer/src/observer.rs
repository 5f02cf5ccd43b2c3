//! Who is told how a run goes on.

/// Told of the progress of a run: a bar on a terminal, a line in a log, nobody.
pub trait Observer {
    /// A phase of `total_steps` begins.
    fn phase(&self, name: &str, total_steps: u64);
    /// A step of the phase is done. `line` says what was last read of its figures, which is not every step: reading waits for
    /// the device.
    fn step(&self, step: u64, line: &str);
    /// Something worth a line.
    fn note(&self, line: &str);
}
