//! Workers: threads of this process, or processes where the open files of one are too few. The same plan, orders and
//! snapshots either way; a process takes them as lines of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use wsgateway_load::plan::WorkerPlan;
use wsgateway_load::snapshot::{Order, Snapshot};
use wsgateway_load::worker as load_worker;

use super::LoadError;
use super::prepare::Preparation;
use crate::error::Error;

/// Snapshots that wait to be taken: a worker waits then, and says that it was held up.
const WAITING: usize = 256;

/// All workers of a run. Dropping it ends them.
pub(super) struct Workers {
    all: Vec<Worker>,
    snapshots: Receiver<Snapshot>,
}

enum Worker {
    Thread(Sender<Order>),
    Process { child: Child, input: Option<ChildStdin> },
}

impl Workers {
    pub(super) fn start(preparation: &Preparation) -> Result<Self, Error> {
        let (sender, snapshots) = sync_channel(WAITING);
        let mut workers = Self { all: Vec::new(), snapshots };
        for worker in 0..preparation.workers {
            let Some(plan) = preparation.worker(worker) else { continue };
            let started = match preparation.processes {
                true => process(&plan, sender.clone()),
                false => thread(plan, sender.clone()),
            };
            workers.all.push(started.map_err(LoadError::Worker)?);
        }
        Ok(workers)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Ids of those that are processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        let pid = |worker: &Worker| match worker {
            Worker::Thread(_) => None,
            Worker::Process { child, .. } => Some(child.id()),
        };
        self.all.iter().filter_map(pid).collect()
    }

    /// The next snapshot that is there.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        self.snapshots.try_recv().ok()
    }

    /// Tells all of them. One that has ended needs no order.
    pub(super) fn order(&mut self, order: Order) {
        for worker in &mut self.all {
            match worker {
                Worker::Thread(orders) => drop(orders.send(order)),
                Worker::Process { input, .. } => {
                    if let Some(input) = input
                        && let Ok(line) = serde_json::to_string(&order)
                    {
                        drop(writeln!(input, "{line}"));
                    }
                }
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Self::Process { child, input } = self {
            // Without standard input it ends by itself; it is not waited for longer than that takes.
            drop(input.take());
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn thread(plan: WorkerPlan, snapshots: SyncSender<Snapshot>) -> std::io::Result<Worker> {
    let (orders, receiver) = channel();
    std::thread::Builder::new().name(format!("load-{}", plan.worker)).spawn(move || {
        load_worker::run(&plan, &receiver, |snapshot| snapshots.send(snapshot).is_ok());
    })?;
    Ok(Worker::Thread(orders))
}

fn process(plan: &WorkerPlan, snapshots: SyncSender<Snapshot>) -> std::io::Result<Worker> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("__load-worker")
        // Ctrl-C is for this process, which asks the others for their last word.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    if let Some(input) = &mut input {
        // With tokens, which is why it is no argument.
        writeln!(input, "{}", serde_json::to_string(plan)?)?;
    }
    let number = plan.worker;
    let read = move || {
        let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
        let mut last = Snapshot { worker: number, ..Snapshot::default() };
        for line in lines.map_while(Result::ok) {
            let Ok(snapshot) = serde_json::from_str::<Snapshot>(&line) else { continue };
            last = Snapshot { latency: Vec::new(), ..snapshot.clone() };
            if snapshots.send(snapshot).is_err() {
                return;
            }
        }
        if !last.finished {
            let failure = Some("its process has ended".to_owned());
            drop(snapshots.send(Snapshot { failure, finished: true, ..last }));
        }
    };
    std::thread::Builder::new().name(format!("load-{number}")).spawn(read)?;
    Ok(Worker::Process { child, input })
}

/// Such a process: the plan is the first line of standard input, orders are the others; the end of it is the end.
pub(crate) fn worker() -> Result<(), Error> {
    wsgateway_runtime::descriptors::raise_limit();
    let mut lines = BufReader::new(std::io::stdin()).lines();
    let Some(line) = lines.next() else { return Ok(()) };
    let plan: WorkerPlan = serde_json::from_str(&line?).map_err(std::io::Error::from)?;
    let (orders, receiver) = channel();
    std::thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || {
            let orders_of = |line: String| serde_json::from_str::<Order>(&line).ok();
            for order in lines.map_while(Result::ok).filter_map(orders_of) {
                if orders.send(order).is_err() {
                    return;
                }
            }
        })
        .map_err(Error::Threads)?;
    load_worker::run(&plan, &receiver, |snapshot| {
        let line = serde_json::to_string(&snapshot).map(|line| line + "\n");
        let mut out = std::io::stdout().lock();
        line.is_ok_and(|line| out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_ok())
    });
    Ok(())
}
