//! What a compiled expression names and may cost.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr};

/// The variables that an expression uses; the others are not made for it.
#[expect(clippy::struct_excessive_bools, reason = "a set of five names, each in or out")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    pub(super) claims: bool,
    pub(super) request: bool,
    pub(super) organisation: bool,
    pub(super) subject: bool,
    pub(super) roles: bool,
}

const VARIABLES: &str = "claims, request, organisation, subject, roles";
const REQUEST: [&str; 6] = ["method", "path", "host", "query", "headers", "client"];
/// The functions of CEL's standard library that are compiled in. Operators have names that no
/// identifier has.
const FUNCTIONS: [&str; 12] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "type",
    "dyn",
    "bytes",
];
/// Evaluation recurses, on the stack of a worker.
const DEEPEST: usize = 32;
/// Brackets within brackets, before the parser sees them.
const BRACKETS: usize = 16;
const LOOPS: usize = 8;

/// Refuses deep nesting before the parser, which recurses, gets to it.
pub(super) fn brackets(source: &str) -> Result<(), String> {
    let mut depth: usize = 0;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BRACKETS {
            return Err(format!("has brackets more than {BRACKETS} deep"));
        }
    }
    Ok(())
}

/// Checks every name and the cost.
pub(super) fn check(root: &IdedExpr) -> Result<Uses, String> {
    let mut walk = Walk { uses: Uses::default(), locals: Vec::new(), loops: 0 };
    walk.expression(root, 0, false)?;
    match &root.expr {
        Expr::Literal(cel::common::ast::LiteralValue::Boolean(_)) => Ok(walk.uses),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Literal(_) => {
            Err(NOT_BOOL.to_owned())
        }
        Expr::Call(call) if NUMBERS.contains(&call.func_name.as_str()) => Err(NOT_BOOL.to_owned()),
        _ => Ok(walk.uses),
    }
}

const NOT_BOOL: &str = "is neither true nor false, whatever the request";
/// Calls that never give a boolean.
const NUMBERS: [&str; 12] =
    ["_+_", "_-_", "_*_", "_/_", "_%_", "-_", "size", "string", "int", "uint", "double", "bytes"];

struct Walk<'e> {
    uses: Uses,
    /// Variables of the loops around.
    locals: Vec<&'e str>,
    loops: usize,
}

impl<'e> Walk<'e> {
    fn expression(
        &mut self,
        node: &'e IdedExpr,
        depth: usize,
        looping: bool,
    ) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("is more than {DEEPEST} levels deep"));
        }
        let deeper = depth + 1;
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                if let Expr::Ident(name) = &select.operand.expr
                    && name == "request"
                    && !self.locals.contains(&name.as_str())
                    && !REQUEST.contains(&select.field.as_str())
                {
                    let known = REQUEST.join(", ");
                    return Err(format!("knows no request.{}; there are {known}", select.field));
                }
                self.expression(&select.operand, deeper, looping)
            }
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
                if !operator && !FUNCTIONS.contains(&name) {
                    let known = FUNCTIONS.join(", ");
                    return Err(format!("knows no function `{name}`; there are {known}"));
                }
                let target = call.target.as_deref();
                target
                    .into_iter()
                    .chain(&call.args)
                    .try_for_each(|each| self.expression(each, deeper, looping))
            }
            Expr::List(list) => {
                list.elements.iter().try_for_each(|each| self.expression(each, deeper, looping))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, deeper, looping)?;
                    self.expression(&entry.value, deeper, looping)
                }
                EntryExpr::StructField(field) => self.expression(&field.value, deeper, looping),
            }),
            Expr::Struct(made) => Err(format!("knows no type `{}`", made.type_name)),
            Expr::Comprehension(each) => self.comprehension(each, deeper, looping),
        }
    }

    fn variable(&mut self, name: &str) -> Result<(), String> {
        if self.locals.contains(&name) {
            return Ok(());
        }
        let used = match name {
            "claims" => &mut self.uses.claims,
            "request" => &mut self.uses.request,
            "organisation" => &mut self.uses.organisation,
            "subject" => &mut self.uses.subject,
            "roles" => &mut self.uses.roles,
            _ => return Err(format!("knows no variable `{name}`; there are {VARIABLES}")),
        };
        *used = true;
        Ok(())
    }

    /// A loop within a loop goes over values that are written out in the expression: otherwise
    /// the claims would decide what a request costs.
    fn comprehension(
        &mut self,
        each: &'e ComprehensionExpr,
        depth: usize,
        looping: bool,
    ) -> Result<(), String> {
        self.loops += 1;
        if self.loops > LOOPS {
            return Err(format!("has more than {LOOPS} loops"));
        }
        if looping && !matches!(each.iter_range.expr, Expr::List(_)) {
            return Err("has a loop within a loop over something other than a list".to_owned());
        }
        self.expression(&each.iter_range, depth, looping)?;
        self.expression(&each.accu_init, depth, looping)?;
        let before = self.locals.len();
        self.locals.extend([each.iter_var.as_str(), each.accu_var.as_str()]);
        self.locals.extend(each.iter_var2.as_deref());
        let within = self
            .expression(&each.loop_cond, depth, true)
            .and_then(|()| self.expression(&each.loop_step, depth, true))
            .and_then(|()| self.expression(&each.result, depth, looping));
        self.locals.truncate(before);
        within
    }
}
