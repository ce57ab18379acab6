// State shared by all views: the session, the names of all workspaces, and the selected workspace (null for all).

export const state = { session: null, workspaces: [], workspace: null };
