// What all views know: who is signed in, which workspaces there are, which one is looked at (null: all).

export const state = { session: null, workspaces: [], workspace: null };
