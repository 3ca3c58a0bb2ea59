//! The plan: a directed acyclic graph of tasks, read from what the planner submitted.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TaskId;
use crate::blank::Mistake;
use crate::blank::{Fields, SUMMARY_MAX_BYTES, finish, text_item};
use crate::lease;

/// A plan as submitted. Task ids are unique, dependencies known and free of cycles, and no two tasks that may run at
/// the same time share a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The tasks, in any order. One task is a good plan for a small request.
    pub tasks: Vec<TaskSpec>,
    /// Commands that check the whole project at the end, each as a list of program and arguments such as
    /// ["npm", "test"]. No shell is involved.
    pub checks: Vec<Vec<String>>,
}

/// One task of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskSpec {
    /// Short unique name: small letters, digits and dashes, such as "user-routes".
    pub id: String,
    /// What it is about, in a few words.
    pub title: String,
    /// What has to be true when it is done, with all that a worker who sees only this needs to know.
    pub objective: String,
    /// Files it may create, change or delete, relative to the project's folder. A trailing / means a whole folder.
    pub files: Vec<String>,
    /// Ids of the tasks that must be done before this one starts.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// Commands that must exit with 0 when the task is done, each as a list of program and arguments.
    pub acceptance: Vec<Vec<String>>,
    #[serde(default)]
    pub priority: Priority,
    /// Reviewers that judge it at the same time; the first that can tell counts. 1 unless a mistake would be costly to
    /// find late.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = RACE_MAX))]
    pub race: u64,
}

fn one() -> u64 {
    1
}

/// Order among tasks that are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// A change to a running plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    /// New tasks. They may depend on any task of the plan, and wait for files that others are writing.
    #[serde(default)]
    pub add: Vec<TaskSpec>,
    /// Tasks to replace by smaller ones.
    #[serde(default)]
    pub split: Vec<Split>,
    /// Ids of tasks to give up, running ones included. Tasks that depend on them are given up too.
    #[serde(default)]
    pub cancel: Vec<String>,
    /// Ids of blocked tasks to try again with fresh sessions.
    #[serde(default)]
    pub retry: Vec<String>,
    /// Tasks that become more or less urgent.
    #[serde(default)]
    pub reprioritise: Vec<Reprioritise>,
}

/// A task that is replaced by several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Split {
    /// Id of the task, which is given up; a session at work on it is ended.
    pub task: String,
    /// The tasks in its place. They wait for what it waited for, and what waited for it waits for all of them.
    pub into: Vec<TaskSpec>,
}

/// Another priority for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reprioritise {
    pub task: String,
    pub priority: Priority,
}

impl Plan {
    /// Reads and validates a submitted plan.
    ///
    /// # Errors
    /// Every mistake at once, with its path.
    pub fn parse(value: &Value, tasks_max: u64) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut fields = Fields::new(value, "", &mut mistakes);
        let tasks = fields.list("tasks", usize::try_from(tasks_max).unwrap_or(usize::MAX), true, read_task);
        let checks = fields.list("checks", COMMANDS_MAX, true, read_command);
        fields.done();
        let graph: Vec<_> =
            tasks.iter().enumerate().map(|(index, task)| (format!("tasks[{index}]"), task)).collect();
        check_graph(&graph, &BTreeMap::new(), &mut mistakes);
        finish(Self { tasks, checks }, mistakes)
    }

    /// A mistake for each command that the host's permissions refuse.
    pub(crate) fn denied(&self, denied: &[Vec<String>]) -> Vec<Mistake> {
        let tasks: Vec<_> =
            self.tasks.iter().enumerate().map(|(index, task)| (format!("tasks[{index}]"), task)).collect();
        let mut mistakes = denied_in(&tasks, denied);
        for (index, command) in self.checks.iter().enumerate().filter(|(_, command)| denied.contains(command))
        {
            mistakes.push(denied_mistake(format!("checks[{index}]"), command));
        }
        mistakes
    }
}

impl Revision {
    /// Reads and validates a revision of a plan whose tasks are `present`.
    ///
    /// # Errors
    /// Every mistake at once, with its path.
    pub(crate) fn parse(
        value: &Value,
        present: &BTreeMap<TaskId, TaskSpec>,
        tasks_max: u64,
    ) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let room = usize::try_from(tasks_max).unwrap_or(usize::MAX).saturating_sub(present.len());
        let mut fields = Fields::new(value, "", &mut mistakes);
        let add = fields.list("add", room, false, read_task);
        let split = fields.list("split", CHANGES_MAX, false, |value, path, mistakes| {
            let mut fields = Fields::new(value, path, mistakes);
            let split =
                Split { task: fields.text("task", 64), into: fields.list("into", room, true, read_task) };
            fields.done();
            split
        });
        let cancel = fields.texts("cancel", CHANGES_MAX, false);
        let retry = fields.texts("retry", CHANGES_MAX, false);
        let reprioritise = fields.list("reprioritise", CHANGES_MAX, false, |value, path, mistakes| {
            let mut fields = Fields::new(value, path, mistakes);
            let task = fields.text("task", 64);
            let priority = fields.choice("priority", PRIORITIES, None).unwrap_or_default();
            fields.done();
            Reprioritise { task, priority }
        });
        fields.done();
        let revision = Self { add, split, cancel, retry, reprioritise };
        let new = revision.new_tasks();
        if new.len() > room {
            let message =
                format!("adds {} tasks to {}; a plan has at most {tasks_max}", new.len(), present.len());
            mistakes.push(Mistake::new("", message));
        }
        check_graph(&new, present, &mut mistakes);
        for (path, id) in revision.named() {
            if !id.is_empty() && !present.contains_key(id) {
                mistakes.push(Mistake::new(path, format!("no task is called {id:?}")));
            }
        }
        revision.check_splits(present, &mut mistakes);
        if mistakes.is_empty() && revision == Self::default() {
            let message = "changes nothing; give add, split, cancel, retry or reprioritise";
            mistakes.push(Mistake::new("", message));
        }
        finish(revision, mistakes)
    }

    /// The tasks it brings, each with its path.
    pub(crate) fn new_tasks(&self) -> Vec<(String, &TaskSpec)> {
        let added = self.add.iter().enumerate().map(|(index, task)| (format!("add[{index}]"), task));
        let parts = self.split.iter().enumerate().flat_map(|(index, split)| {
            let parts = split.into.iter().enumerate();
            parts.map(move |(part, task)| (format!("split[{index}].into[{part}]"), task))
        });
        added.chain(parts).collect()
    }

    /// The tasks of the plan that it names, each with its path.
    fn named(&self) -> Vec<(String, &str)> {
        let mut named = Vec::new();
        for (list, ids) in [("cancel", &self.cancel), ("retry", &self.retry)] {
            named.extend(ids.iter().enumerate().map(|(at, id)| (format!("{list}[{at}]"), id.as_str())));
        }
        for (at, split) in self.split.iter().enumerate() {
            named.push((format!("split[{at}].task"), split.task.as_str()));
        }
        for (at, change) in self.reprioritise.iter().enumerate() {
            named.push((format!("reprioritise[{at}].task"), change.task.as_str()));
        }
        named
    }

    /// A split task is named once, and its parts wait for nothing that waits for them.
    fn check_splits(&self, present: &BTreeMap<TaskId, TaskSpec>, mistakes: &mut Vec<Mistake>) {
        for (index, split) in self.split.iter().enumerate() {
            if self.named().iter().filter(|(_, id)| *id == split.task).count() > 1 {
                let message = format!("{:?} is split, so nothing else can be done with it", split.task);
                mistakes.push(Mistake::new(format!("split[{index}].task"), message));
            }
            for (part, task) in split.into.iter().enumerate() {
                if let Some(position) = task.depends_on.iter().position(|id| *id == split.task) {
                    let path = format!("split[{index}].into[{part}].depends_on[{position}]");
                    let message = "a part takes the place of the task, so it cannot wait for it";
                    mistakes.push(Mistake::new(path, message));
                }
            }
        }
        if !mistakes.is_empty() {
            return;
        }
        let revised = self.applied_to(present);
        let graph: Vec<_> = revised.values().map(|task| (String::new(), task)).collect();
        let index_of = graph.iter().enumerate().map(|(index, (_, task))| (task.id.as_str(), index)).collect();
        if let Some(cycle) = find_cycle(&graph, &index_of) {
            let names: Vec<_> = cycle.iter().map(|&index| graph[index].1.id.as_str()).collect();
            let message = format!("the tasks {} would wait for each other", names.join(" → "));
            mistakes.push(Mistake::new("split", message));
        }
    }

    /// The tasks as they are with the revision, without those that are split.
    pub(crate) fn applied_to(&self, present: &BTreeMap<TaskId, TaskSpec>) -> BTreeMap<TaskId, TaskSpec> {
        let mut tasks: BTreeMap<TaskId, TaskSpec> = present.clone();
        tasks.extend(self.add.iter().map(|task| (TaskId(task.id.clone()), task.clone())));
        for Split { task, into } in &self.split {
            let replaced = tasks.remove(task.as_str());
            let inherited = replaced.map(|task| task.depends_on).unwrap_or_default();
            for part in into {
                let mut part = part.clone();
                let others = inherited.iter().filter(|id| !part.depends_on.contains(id)).cloned();
                part.depends_on.extend(others.collect::<Vec<_>>());
                tasks.insert(TaskId(part.id.clone()), part);
            }
        }
        for Split { task, into } in &self.split {
            for waiting in tasks.values_mut().filter(|waiting| waiting.depends_on.contains(task)) {
                waiting.depends_on.retain(|id| id != task);
                waiting.depends_on.extend(into.iter().map(|part| part.id.clone()));
            }
        }
        for Reprioritise { task, priority } in &self.reprioritise {
            if let Some(task) = tasks.get_mut(task.as_str()) {
                task.priority = *priority;
            }
        }
        tasks
    }

    /// A mistake for each command that the host's permissions refuse.
    pub(crate) fn denied(&self, denied: &[Vec<String>]) -> Vec<Mistake> {
        denied_in(&self.new_tasks(), denied)
    }
}

fn denied_in(tasks: &[(String, &TaskSpec)], denied: &[Vec<String>]) -> Vec<Mistake> {
    let commands = tasks.iter().flat_map(|(path, task)| {
        task.acceptance.iter().enumerate().map(move |(position, command)| (path, position, command))
    });
    commands
        .filter(|(_, _, command)| denied.contains(command))
        .map(|(path, position, command)| denied_mistake(format!("{path}.acceptance[{position}]"), command))
        .collect()
}

fn denied_mistake(path: String, command: &[String]) -> Mistake {
    let message =
        format!("the host's permissions refuse to run {:?}; choose another command", command.join(" "));
    Mistake::new(path, message)
}

/// Every command that a submitted plan or revision would have run, each once, in order of first use. What is not a
/// command is passed over: submitting it will name the mistake.
pub(crate) fn commands_in(value: &Value) -> Vec<Vec<String>> {
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let parts = list(value, "split").into_iter().flat_map(|split| list(&split, "into"));
    let tasks = ["tasks", "add"].into_iter().flat_map(|key| list(value, key)).chain(parts);
    let commands = tasks.flat_map(|task| list(&task, "acceptance")).chain(list(value, "checks"));
    let mut unique: Vec<Vec<String>> = Vec::new();
    for command in commands.filter_map(|command| serde_json::from_value(command).ok()) {
        if !unique.contains(&command) {
            unique.push(command);
        }
    }
    unique
}

/// The most sessions that race at one subject.
const RACE_MAX: u64 = 5;
const COMMANDS_MAX: usize = 20;
/// Tasks that one list of a revision names.
const CHANGES_MAX: usize = 200;
const PRIORITIES: &[(&str, Priority)] =
    &[("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];
const ARGUMENTS_MAX: usize = 100;

fn read_task(value: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> TaskSpec {
    let mut fields = Fields::new(value, path, mistakes);
    let id = fields.text("id", 64);
    let task = TaskSpec {
        title: fields.text("title", 200),
        objective: fields.text("objective", SUMMARY_MAX_BYTES),
        files: fields.paths("files", false),
        depends_on: fields.texts("depends_on", 200, false),
        acceptance: fields.list("acceptance", COMMANDS_MAX, true, read_command),
        priority: fields.choice("priority", PRIORITIES, Some(Priority::Normal)).unwrap_or_default(),
        race: fields.whole("race", 1..=RACE_MAX, 1),
        id,
    };
    fields.done();
    let well_formed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if !task.id.is_empty() && !task.id.chars().all(well_formed) {
        mistakes.push(Mistake::new(
            format!("{path}.id"),
            format!("{:?} has other characters than small letters, digits, - _ and .", task.id),
        ));
    }
    task
}

fn read_command(value: &Value, path: &str, mistakes: &mut Vec<Mistake>) -> Vec<String> {
    let Some(items) = value.as_array() else {
        mistakes.push(Mistake::new(
            path,
            "expected a command as a list such as [\"npm\", \"test\"]; for a shell, [\"sh\", \"-c\", \"…\"]",
        ));
        return Vec::new();
    };
    if items.is_empty() || items.len() > ARGUMENTS_MAX {
        mistakes
            .push(Mistake::new(path, format!("expected 1 to {ARGUMENTS_MAX} words, found {}", items.len())));
        return Vec::new();
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| match item.as_str() {
            // An argument may be empty, the program may not.
            Some(text) if index > 0 && !text.contains('\0') => text.to_owned(),
            _ => text_item(item, &format!("{path}[{index}]"), mistakes),
        })
        .collect()
}

/// Checks ids, dependencies, cycles and overlaps of `tasks`, which join the tasks already `present`; each stands with
/// its path.
fn check_graph(
    tasks: &[(String, &TaskSpec)],
    present: &BTreeMap<TaskId, TaskSpec>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, (path, task)) in tasks.iter().enumerate().filter(|(_, (_, task))| !task.id.is_empty()) {
        let taken = present.contains_key(task.id.as_str());
        if taken || index_of.insert(&task.id, index).is_some() {
            mistakes.push(Mistake::new(
                format!("{path}.id"),
                format!("{:?} is the id of another task; ids must be unique", task.id),
            ));
        }
    }
    for (at, task) in tasks {
        for (position, dependency) in task.depends_on.iter().enumerate().filter(|(_, id)| !id.is_empty()) {
            let path = || format!("{at}.depends_on[{position}]");
            if *dependency == task.id {
                mistakes.push(Mistake::new(path(), "a task cannot depend on itself"));
            } else if !index_of.contains_key(dependency.as_str())
                && !present.contains_key(dependency.as_str())
            {
                mistakes.push(Mistake::new(path(), format!("no task is called {dependency:?}")));
            }
        }
    }
    if let Some(cycle) = find_cycle(tasks, &index_of) {
        let names: Vec<_> = cycle.iter().map(|&index| tasks[index].1.id.as_str()).collect();
        mistakes.push(Mistake::new(
            format!("{}.depends_on", tasks[cycle[0]].0),
            format!("the tasks {} wait for each other; break the cycle", names.join(" → ")),
        ));
        return;
    }
    let before = ancestors(tasks, &index_of);
    for (b, (path, later)) in tasks.iter().enumerate() {
        for (a, (_, earlier)) in tasks.iter().enumerate().take(b) {
            if before[a].contains(&b) || before[b].contains(&a) {
                continue;
            }
            for (position, file) in later.files.iter().enumerate().filter(|(_, file)| !file.is_empty()) {
                if let Some(shared) =
                    earlier.files.iter().find(|other| !other.is_empty() && lease::overlap(other, file))
                {
                    mistakes.push(Mistake::new(
                        format!("{path}.files[{position}]"),
                        format!(
                            "{file:?} may be written by {:?} ({shared:?}) at the same time; \
                             let one task depend on the other, or split the files",
                            earlier.id
                        ),
                    ));
                }
            }
        }
    }
}

/// The indices of all tasks that must be done before each task.
fn ancestors(tasks: &[(String, &TaskSpec)], index_of: &BTreeMap<&str, usize>) -> Vec<BTreeSet<usize>> {
    fn visit(
        index: usize,
        tasks: &[(String, &TaskSpec)],
        index_of: &BTreeMap<&str, usize>,
        known: &mut Vec<Option<BTreeSet<usize>>>,
    ) {
        if known[index].is_some() {
            return;
        }
        let mut all = BTreeSet::new();
        let dependencies = tasks[index].1.depends_on.iter().filter_map(|id| index_of.get(id.as_str()));
        for dependency in dependencies.filter(|dependency| **dependency != index) {
            visit(*dependency, tasks, index_of, known);
            all.insert(*dependency);
            all.extend(known[*dependency].iter().flatten());
        }
        known[index] = Some(all);
    }
    let mut known = vec![None; tasks.len()];
    for index in 0..tasks.len() {
        visit(index, tasks, index_of, &mut known);
    }
    known.into_iter().flatten().collect()
}

/// The first cycle, as indices in order; the graph has been bounded by the plan's size, so recursion is shallow.
fn find_cycle(tasks: &[(String, &TaskSpec)], index_of: &BTreeMap<&str, usize>) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Closed,
    }
    fn visit(
        index: usize,
        tasks: &[(String, &TaskSpec)],
        index_of: &BTreeMap<&str, usize>,
        marks: &mut [Mark],
        trail: &mut Vec<usize>,
    ) -> bool {
        marks[index] = Mark::Open;
        trail.push(index);
        for &next in tasks[index].1.depends_on.iter().filter_map(|id| index_of.get(id.as_str())) {
            if next == index {
                continue; // reported as a self-dependency
            }
            match marks[next] {
                Mark::Open => {
                    let start = trail.iter().position(|&entry| entry == next).unwrap_or(0);
                    trail.drain(..start);
                    return true;
                }
                Mark::New => {
                    if visit(next, tasks, index_of, marks, trail) {
                        return true;
                    }
                }
                Mark::Closed => {}
            }
        }
        marks[index] = Mark::Closed;
        trail.pop();
        false
    }
    let mut marks = vec![Mark::New; tasks.len()];
    let mut trail = Vec::new();
    (0..tasks.len())
        .any(|index| marks[index] == Mark::New && visit(index, tasks, index_of, &mut marks, &mut trail))
        .then_some(trail)
}

/// The tasks grouped into waves: a task stands in the first wave after all its dependencies.
pub(crate) fn waves<'a>(tasks: impl Iterator<Item = &'a TaskSpec> + Clone) -> BTreeMap<&'a str, usize> {
    let mut wave: BTreeMap<&str, usize> = BTreeMap::new();
    let count = tasks.clone().count();
    for _ in 0..count {
        let mut changed = false;
        for task in tasks.clone() {
            let after =
                task.depends_on.iter().filter_map(|id| wave.get(id.as_str()).copied()).max().unwrap_or(0);
            if wave.insert(&task.id, after + 1) != Some(after + 1) {
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    wave
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(id: &str, files: &[&str], depends_on: &[&str]) -> Value {
        json!({"id": id, "title": id, "objective": "do it", "files": files, "depends_on": depends_on,
               "acceptance": [["true"]]})
    }

    fn mistakes(tasks: Vec<Value>) -> Vec<(String, String)> {
        let plan = json!({"tasks": tasks, "checks": [["true"]]});
        Plan::parse(&plan, 200).err().unwrap_or_default().into_iter().map(|m| (m.path, m.message)).collect()
    }

    fn paths(tasks: Vec<Value>) -> Vec<String> {
        mistakes(tasks).into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_good_plan_passes() {
        assert_eq!(mistakes(vec![task("a", &["x"], &[]), task("b", &["x"], &["a"])]), []);
    }

    #[test]
    fn every_mistake_comes_at_once_with_its_path() {
        let plan = json!({
            "tasks": [
                {"id": "A b", "title": "", "objective": " ", "files": ["/etc/x"], "acceptance": ["npm test"]},
                task("b", &["y"], &["nobody"]),
                task("b", &["z"], &[]),
                7,
            ],
            "extra": true,
        });
        let paths: Vec<_> = Plan::parse(&plan, 200).unwrap_err().into_iter().map(|m| m.path).collect();
        assert_eq!(
            paths,
            [
                "tasks[0].title",
                "tasks[0].objective",
                "tasks[0].files[0]",
                "tasks[0].acceptance[0]",
                "tasks[0].id",
                "tasks[3]",
                "checks",
                "extra",
                "tasks[2].id",
                "tasks[1].depends_on[0]",
            ]
        );
    }

    #[test]
    fn a_cycle_names_its_members() {
        let found = mistakes(vec![
            task("a", &["1"], &["c"]),
            task("b", &["2"], &["a"]),
            task("c", &["3"], &["b"]),
            task("d", &["4"], &["c"]),
        ]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, "the tasks a → c → b wait for each other; break the cycle");
        assert_eq!(paths(vec![task("a", &["1"], &["a"])]), ["tasks[0].depends_on[0]"]);
    }

    #[test]
    fn tasks_that_may_run_together_share_no_path() {
        assert_eq!(
            paths(vec![task("a", &["src/"], &[]), task("b", &["src/b.ts"], &[])]),
            ["tasks[1].files[0]"]
        );
        assert_eq!(paths(vec![task("a", &["src/"], &["b"]), task("b", &["src/b.ts"], &[])]), [] as [&str; 0]);
        // a and c are ordered through b
        let chain = vec![task("a", &["x"], &[]), task("b", &["y"], &["a"]), task("c", &["x"], &["b"])];
        assert_eq!(paths(chain), [] as [&str; 0]);
    }

    #[test]
    fn a_refused_command_is_named_at_each_use() {
        let value = json!({"tasks": [task("a", &["x"], &[])], "checks": [["true"], ["npm", "test"]]});
        assert_eq!(commands_in(&value), [vec!["true".to_owned()], vec!["npm".to_owned(), "test".to_owned()]]);
        let plan = Plan::parse(&value, 200).unwrap();
        let paths: Vec<_> = plan.denied(&[vec!["true".into()]]).into_iter().map(|m| m.path).collect();
        assert_eq!(paths, ["tasks[0].acceptance[0]", "checks[0]"]);
    }

    #[test]
    fn two_hundred_tasks_are_the_most() {
        let many =
            |count: usize| (0..count).map(|i| task(&format!("t{i}"), &[&format!("f{i}")], &[])).collect();
        assert_eq!(paths(many(200)), [] as [&str; 0]);
        assert_eq!(paths(many(201)), ["tasks"]);
    }

    #[test]
    fn a_revision_sees_the_tasks_that_are_there() {
        let spec: TaskSpec = serde_json::from_value(task("a", &["x"], &[])).unwrap();
        let present = BTreeMap::from([(TaskId::from("a"), spec)]);
        let parse = |value| Revision::parse(&value, &present, 200);
        assert!(parse(json!({"add": [task("b", &["y"], &["a"])]})).is_ok());
        assert_eq!(parse(json!({"add": [task("a", &["y"], &[])]})).unwrap_err()[0].path, "add[0].id");
        assert_eq!(parse(json!({"cancel": ["q"]})).unwrap_err()[0].path, "cancel[0]");
        assert_eq!(
            parse(json!({})).unwrap_err()[0].message,
            "changes nothing; give add, split, cancel, retry or reprioritise"
        );
    }

    #[test]
    fn the_parts_of_a_split_task_take_its_place() {
        let specs = [task("a", &["1"], &[]), task("b", &["2"], &["a"]), task("c", &["3"], &["b"])];
        let specs = specs.map(|value| serde_json::from_value::<TaskSpec>(value).unwrap());
        let present: BTreeMap<_, _> = specs.map(|spec| (TaskId(spec.id.clone()), spec)).into();
        let parse = |value| Revision::parse(&value, &present, 200);
        let split = |into: Vec<Value>| json!({"split": [{"task": "b", "into": into}]});

        let revision = parse(split(vec![task("b1", &["2"], &[]), task("b2", &["4"], &["b1"])])).unwrap();
        let revised = revision.applied_to(&present);
        let waits: Vec<_> =
            revised.values().map(|task| (task.id.as_str(), task.depends_on.join(" "))).collect();
        let expected = [("a", ""), ("b1", "a"), ("b2", "b1 a"), ("c", "b1 b2")];
        assert_eq!(waits, expected.map(|(id, waits)| (id, waits.to_owned())));

        let paths = |value| parse(value).unwrap_err().into_iter().map(|m| m.path).collect::<Vec<_>>();
        assert_eq!(paths(split(vec![task("b1", &["2"], &["b"])])), ["split[0].into[0].depends_on[0]"]);
        assert_eq!(
            paths(split(vec![task("b1", &["2"], &[]), task("b2", &["2"], &[])])),
            ["split[0].into[1].files[0]"]
        );
        // b1 waits for x, x for c, and c for b1 in the place of b.
        let mut round = split(vec![task("b1", &["2"], &["x"])]);
        round["add"] = json!([task("x", &["5"], &["c"])]);
        assert_eq!(paths(round), ["split"]);
        let twice = json!({"split": [{"task": "b", "into": [task("b1", &["2"], &[])]}], "cancel": ["b"],
            "reprioritise": [{"task": "q", "priority": "urgent"}]});
        assert_eq!(paths(twice), ["reprioritise[0].priority", "reprioritise[0].task", "split[0].task"]);
    }

    #[test]
    fn waves_follow_the_longest_path() {
        let specs: Vec<TaskSpec> =
            [task("c", &["3"], &["a", "b"]), task("b", &["2"], &["a"]), task("a", &["1"], &[])]
                .into_iter()
                .map(|value| serde_json::from_value(value).unwrap())
                .collect();
        assert_eq!(waves(specs.iter()), BTreeMap::from([("a", 1), ("b", 2), ("c", 3)]));
    }
}
