//! The way back into JavaScript for work that runs on the worker pool.
//!
//! One long-lived weak threadsafe function per environment carries every completion to a map of resolvers on the other
//! side (`plugin/native.ts`). A promise per call would cost a threadsafe function each, and many of those crash Bun
//! 1.3 when an environment ends while they are pending; so do `AsyncTask`s and asynchronous cleanup hooks.
//!
//! Weak means that pending work does not keep the process alive; whoever wants to wait holds a timer.

use napi::Status;
use napi::bindgen_prelude::{External, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use orchestrator_worker::Ticket;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::error::{coded, from_napi, whole};

type Completion = FnArgs<(f64, String)>;
type Callback = ThreadsafeFunction<Completion, (), Completion, Status, false, true>;

/// Carries the results of native work to the environment that opened it.
///
/// It crosses as an `External` and not as a class: in a build with assertions, napi aborts the process when Bun
/// finalizes a class instance in a worker that is being terminated.
pub struct Port {
    calls: Arc<Calls>,
}

/// Opens the port on which `callback` gets every completion: the id of the call, and its result as JSON, which is
/// `{ "ok": … }` or `{ "error": { "code", "message" } }`. It is called once for each call that was accepted, from the
/// event loop, unless the port is closed first. A port does not keep the process alive. Open one per environment, and
/// close it with {@link closePort} before the environment ends.
#[napi(
    catch_unwind,
    strict,
    ts_args_type = "callback: (id: number, json: string) => void",
    ts_return_type = "ExternalObject<'Port'>"
)]
pub fn connect(callback: Function<'_, Completion, ()>) -> napi::Result<External<Port>, String> {
    let callback = callback
        .build_threadsafe_function::<Completion>()
        .callee_handled::<false>()
        .weak::<true>()
        .build()
        .map_err(|error| from_napi(&error))?;
    let calls = Calls { callback: Mutex::new(Some(callback)), live: Mutex::new(HashMap::new()) };
    Ok(External::new(Port { calls: Arc::new(calls) }))
}

/// Has the event loop look for completions once more; `callback` gets the id -1 for it, and no completion.
///
/// Bun 1.3 forgets a completion that comes in the very moment in which it has found no further one: it hands that out with
/// the next only, which may never come. Seen once in some forty thousand. So while calls wait, this is to be called now and
/// then.
#[napi(catch_unwind, ts_args_type = "port: ExternalObject<'Port'>")]
pub fn ring(port: &External<Port>) {
    port.calls.send(-1.0, String::new());
}

/// Cancels every call of a port and frees what it holds; no completion comes afterwards. Closing twice does nothing.
#[napi(catch_unwind, ts_args_type = "port: ExternalObject<'Port'>")]
pub fn close_port(port: &External<Port>) {
    port.calls.close();
}

impl Port {
    /// Starts a call under `id`, which must be a whole number that no pending call has. `start` gets the right to
    /// complete the call, to be used on any thread, and returns the ticket that cancels it; or, when the call could not
    /// be started, the completion. Returns the completion of a call that has ended already, which is then not sent.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a bad id, `PORT_CLOSED` when the port is closed.
    pub(crate) fn begin(
        &self,
        id: f64,
        start: impl FnOnce(Reply) -> Result<Ticket, String>,
    ) -> napi::Result<Option<String>, String> {
        let key = whole("id", id)?;
        if self.calls.callback.lock().is_none() {
            return Err(coded("PORT_CLOSED", "the port is closed; connect again"));
        }
        match self.calls.live.lock().entry(key) {
            Entry::Occupied(_) => {
                return Err(coded("INVALID_ARGUMENT", format!("id: {key} is in use; count upwards")));
            }
            Entry::Vacant(place) => place.insert(Call::Starting),
        };
        let started = start(Reply { calls: Arc::clone(&self.calls), id, key, is_given: false });
        let mut live = self.calls.live.lock();
        // Not there any more when the port was closed meanwhile.
        let Some(call) = live.remove(&key) else { return Ok(None) };
        Ok(match (call, started) {
            // An ended one too, as the right to complete it was dropped.
            (_, Err(json)) | (Call::Ended(json), Ok(_)) => Some(json),
            (Call::Starting | Call::Running(_), Ok(ticket)) => {
                live.insert(key, Call::Running(ticket));
                None
            }
        })
    }

    /// Cancels the call under `id`; nothing happens when it has ended or never was.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` when `id` cannot be the id of a call.
    pub(crate) fn cancel(&self, id: f64) -> napi::Result<(), String> {
        let key = whole("id", id)?;
        if let Some(Call::Running(ticket)) = self.calls.live.lock().get(&key) {
            ticket.cancel();
        }
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.calls.close();
    }
}

/// The calls of one port that have not ended, shared with their completions.
struct Calls {
    callback: Mutex<Option<Callback>>,
    live: Mutex<HashMap<u64, Call>>,
}

/// A call between its start and the moment in which its completion is handed over.
enum Call {
    /// It may end before it is known how to cancel it.
    Starting,
    Running(Ticket),
    /// It has ended before its start returned, with this.
    Ended(String),
}

impl Calls {
    fn send(&self, id: f64, json: String) {
        if let Some(callback) = self.callback.lock().as_ref() {
            // The queue holds no more than there are calls, so what may fail here is an environment that is ending,
            // in which no one waits.
            callback.call((id, json).into(), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    fn close(&self) {
        let callback = self.callback.lock().take();
        drop(callback);
        let live = std::mem::take(&mut *self.live.lock());
        for call in live.into_values() {
            if let Call::Running(ticket) = call {
                ticket.cancel();
            }
        }
    }
}

/// The right to complete one call. Dropped unused, it completes the call with an error: nobody waits for ever.
pub(crate) struct Reply {
    calls: Arc<Calls>,
    id: f64,
    key: u64,
    is_given: bool,
}

impl Reply {
    /// Completes the call.
    pub(crate) fn finish(mut self, json: String) {
        self.give(json);
    }

    fn give(&mut self, json: String) {
        self.is_given = true;
        let mut live = self.calls.live.lock();
        match live.remove(&self.key) {
            Some(Call::Starting) => {
                live.insert(self.key, Call::Ended(json));
            }
            // Not there any more when the port was closed; then nobody waits.
            Some(Call::Running(_) | Call::Ended(_)) | None => {
                drop(live);
                self.calls.send(self.id, json);
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_given {
            let error = json!({ "error": {
                "code": "GenericFailure",
                "message": "the call ended without an answer; this is a fault of ours, please report it",
            } });
            self.give(error.to_string());
        }
    }
}
