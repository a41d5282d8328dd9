// The page for the operator: what the rollout is, and commands for whoever has the key.

import "./slots.js";
import "./gates.js";
import "./workers.js";
import "./history.js";
import { startCommands } from "./commands.js";
import { watchHealth } from "./health.js";
import { startLanguage } from "./language.js";
import { watchRollout } from "./watching.js";

startCommands();
startLanguage();
watchHealth();
watchRollout();
